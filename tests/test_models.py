"""RNNScratch and LanguageModel: parity with PyTorch, shapes, state, dropout."""

from functools import partial

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from utils import training
from utils.batching import sequential_windows
from utils.models import GRUScratch, LanguageModel, LSTMScratch, RNNScratch
from utils.sampling import generate, sampler
from utils.text import Vocab

VOCAB_SIZE, NUM_INPUTS, NUM_HIDDENS = 11, 5, 8
SIZES = [  # num_steps, batch_size, vocab_size, num_hiddens
    (20, 4, 28, 16),
    (1, 3, 5, 4),
    (6, 1, 5, 4),
    (1, 1, 1, 1),
]
TORCH_LAYERS = [
    (kind, num_layers, num_directions)
    for kind in ("RNN", "GRU", "LSTM")
    for num_layers in (1, 2)
    for num_directions in (1, 2)
]
ONE_LAYER = ["RNN with relu", "GRU, the paper's", "GRU, reset after", "LSTM from scratch"]
EVERY_LAYER = [*TORCH_LAYERS, *((kind, 1, 1) for kind in ONE_LAYER)]

states = pytest.mark.parametrize("with_state", [False, True], ids=["from zeros", "from a state"])
every_layer = pytest.mark.parametrize("case", EVERY_LAYER, ids=str)


def make_layer(kind, num_layers, num_directions):
    sizes = NUM_INPUTS, NUM_HIDDENS
    if kind in ("RNN", "GRU", "LSTM"):
        return getattr(nn, kind)(*sizes, num_layers, bidirectional=num_directions == 2)
    return {
        "RNN with relu": lambda: nn.RNN(*sizes, nonlinearity="relu"),
        "GRU, the paper's": lambda: GRUScratch(*sizes),
        "GRU, reset after": lambda: GRUScratch(*sizes, reset_after=True),
        "LSTM from scratch": lambda: LSTMScratch(*sizes),
    }[kind]()


def make_model(case, vocab_size=VOCAB_SIZE):
    torch.manual_seed(0)
    return LanguageModel(make_layer(*case), vocab_size).double()


def make_state(case, batch_size):
    """Return a random state as the layer takes it: a tensor, or a tuple of two for an LSTM."""
    kind, num_layers, num_directions = case
    shape = 2, num_layers * num_directions, batch_size, NUM_HIDDENS
    H, C = torch.randn(shape, dtype=torch.float64)
    return (H, C) if kind.startswith("LSTM") else H


def parts(state):
    return state if isinstance(state, tuple) else (state,)


def close(actual, expected):
    torch.testing.assert_close(actual, expected, rtol=0, atol=1e-10)


# --- RNNScratch
def test_scratch_starts_small_and_with_biases_of_zero():
    torch.manual_seed(0)
    model = RNNScratch(28, 64, sigma=0.3)
    assert not model.b_h.any() and not model.b_q.any()
    for W in (model.W_xh, model.W_hh, model.W_hq):
        assert W.std().item() == pytest.approx(0.3, rel=0.1)
    assert RNNScratch(28, 64).W_hh.std().item() == pytest.approx(0.01, rel=0.1)


@states
@pytest.mark.parametrize("sizes", SIZES, ids=str)
def test_scratch_equals_language_model_over_torch(sizes, with_state):
    """An embedding of unit vectors makes a token one-hot; outputs, states and gradients agree."""
    num_steps, batch_size, vocab_size, num_hiddens = sizes
    torch.manual_seed(0)
    ours = RNNScratch(vocab_size, num_hiddens, sigma=0.5).double()
    theirs = LanguageModel(nn.RNN(vocab_size, num_hiddens), vocab_size).double()
    W_xh, W_hh, b_ih, b_hh = theirs.layer.parameters()
    with torch.no_grad():
        ours.b_h.normal_()
        ours.b_q.normal_()
        theirs.embedding.weight.copy_(torch.eye(vocab_size))
        W_xh.copy_(ours.W_xh.T)
        W_hh.copy_(ours.W_hh.T)
        b_ih.copy_(ours.b_h - b_hh)
        theirs.output.weight.copy_(ours.W_hq.T)
        theirs.output.bias.copy_(ours.b_q)
    X = torch.randint(vocab_size, (batch_size, num_steps))
    H = torch.randn(batch_size, num_hiddens, dtype=torch.float64, requires_grad=True)
    logits, last = ours(X, H if with_state else None)
    torch_logits, torch_last = theirs(X, H[None] if with_state else None)
    close(logits, torch_logits)
    close(last[None], torch_last)

    wrt = [ours.W_xh, ours.W_hh, ours.b_h, ours.W_hq, ours.b_q, *[H] * with_state]
    torch_wrt = [W_xh, W_hh, b_ih, theirs.output.weight, theirs.output.bias, *[H] * with_state]
    weights = [torch.randn_like(logits), torch.randn_like(last)]
    grads = torch.autograd.grad((logits, last), wrt, weights)
    torch_grads = torch.autograd.grad((torch_logits, torch_last[0]), torch_wrt, weights)
    for parameter, a, b in zip(wrt, grads, torch_grads, strict=True):
        close(a, b.T if a.dim() == 2 and parameter is not H else b)


# --- LanguageModel over every layer
@states
@every_layer
def test_equals_embedding_layer_and_linear_by_hand(case, with_state):
    model, state = make_model(case), make_state(case, batch_size=3)
    X = torch.randint(VOCAB_SIZE, (3, 7))
    logits, last = model(X, state if with_state else None)
    assert logits.shape == (7, 3, VOCAB_SIZE) and type(last) is type(state)
    inputs = F.one_hot(X.T, VOCAB_SIZE).double() @ model.embedding.weight
    hiddens, end = model.layer(inputs, state if with_state else None)
    close(logits, hiddens @ model.output.weight.T + model.output.bias)
    for a, b, given in zip(*map(parts, (last, end, state)), strict=True):
        close(a, b)
        assert a.shape == given.shape


@pytest.mark.parametrize("precision", [torch.float32, torch.bfloat16], ids=str)
@every_layer
def test_learns_a_cycle_with_carried_state_evaluates_and_writes(case, precision):
    """In mixed precision, too: a layer takes the state that it gave."""
    ids, vocab = torch.arange(5).repeat(30), Vocab(list("abcd"))
    model = make_model(case, vocab_size=5).float()
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


# --- dropout
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
