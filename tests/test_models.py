"""LanguageModel over every layer: parity with PyTorch, shapes, state, dropout."""

from functools import partial

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from utils import training
from utils.batching import sequential_windows
from utils.models import GRUScratch, LanguageModel, LSTMScratch
from utils.sampling import generate, sampler
from utils.text import Vocab

VOCAB_SIZE, NUM_INPUTS, NUM_HIDDENS = 11, 5, 8
LAYERS = {
    f"{kind.__name__}, {num_layers} layer(s), {num_directions} direction(s)": partial(
        kind, num_layers=num_layers, bidirectional=num_directions == 2
    )
    for kind in (nn.RNN, nn.GRU, nn.LSTM)
    for num_layers in (1, 2)
    for num_directions in (1, 2)
} | {
    "RNN with relu": partial(nn.RNN, nonlinearity="relu"),
    "GRU, the paper's": GRUScratch,
    "GRU, reset after": partial(GRUScratch, reset_after=True),
    "LSTM from scratch": LSTMScratch,
}
close = partial(torch.testing.assert_close, rtol=0, atol=1e-10)
every_layer = pytest.mark.parametrize("kind", LAYERS)


def make_model(kind, vocab_size=VOCAB_SIZE):
    torch.manual_seed(0)
    return LanguageModel(LAYERS[kind](NUM_INPUTS, NUM_HIDDENS), vocab_size).double()


@pytest.mark.parametrize("with_state", [False, True], ids=["from zeros", "from a state"])
@every_layer
def test_equals_embedding_layer_and_linear_by_hand(kind, with_state):
    model, X = make_model(kind), torch.randint(VOCAB_SIZE, (3, 7))
    state = model(X)[1] if with_state else None
    logits, last = model(X, state)
    inputs = F.one_hot(X.T, VOCAB_SIZE).double() @ model.embedding.weight
    hiddens, end = model.layer(inputs, state)
    close(logits, hiddens @ model.output.weight.T + model.output.bias)
    close(last, end)


@pytest.mark.parametrize("precision", [torch.float32, torch.bfloat16], ids=str)
@every_layer
def test_learns_a_cycle_with_carried_state_evaluates_and_writes(kind, precision):
    """In mixed precision, too: a layer takes the state that it gave."""
    ids, vocab = torch.arange(5).repeat(30), Vocab(list("abcd"))
    model = make_model(kind, vocab_size=5).float()
    batches = partial(sequential_windows, ids, 4, 10)
    adam = torch.optim.Adam(model.parameters(), 0.02)
    mixed = {"enabled": precision is torch.bfloat16, "cache_enabled": False}  # weights change
    with torch.autocast("cpu", precision, **mixed):
        before = training.evaluate(model, ids)
        history = training.train(model, batches, 12, adam, carry_state=True)
        after = training.evaluate(model, ids)
        text = generate(model, vocab, "abca", 6, pick=sampler(top_k=3))
    assert all(p.grad is not None and p.grad.any() for p in model.parameters())
    assert history.perplexities[-1] < history.perplexities[0]
    assert after < 2 < 4 < before
    assert text.startswith("abca") and len(text.replace("<unk>", "?")) == 4 + 6


def test_dropout_acts_on_what_enters_and_what_leaves_the_layer_and_on_nothing_else():
    torch.manual_seed(0)
    model = LanguageModel(nn.GRU(NUM_INPUTS, NUM_HIDDENS, 2), VOCAB_SIZE, dropout=0.5)
    seen = []
    model.dropout.register_forward_hook(lambda _, args, out: seen.append((*args, out)))
    X = torch.randint(VOCAB_SIZE, (3, 7))
    logits, H = model(X)
    assert LanguageModel(nn.GRU(4, 4), 5).dropout.p == 0, "none unless asked for"
    (embedded, inputs), (hiddens, kept) = seen
    assert torch.equal(embedded, model.embedding(X.T))
    states, last = model.layer(inputs)
    assert torch.equal(states, hiddens) and torch.equal(last, H), "the state is left whole"
    assert torch.equal(logits, model.output(kept))
    for before, after in seen:
        dropped = after == 0
        assert 0.2 < dropped.float().mean() < 0.8
        torch.testing.assert_close(after, torch.where(dropped, 0, 2 * before))
    assert torch.equal(model.eval()(X)[0], model.output(model.layer(embedded)[0]))
