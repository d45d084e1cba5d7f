"""Bad input: which call is refused, with which error, and that the message names the argument."""

import math
from functools import partial

import numpy as np
import pytest
import torch
from torch import nn

from utils.batching import (
    bucket,
    overlapping_windows,
    pad,
    padding_share,
    random_windows,
    sequential_windows,
)
from utils.models import Classifier, GRUScratch, LanguageModel, LSTMScratch, RNNScratch, last_state
from utils.ngrams import NGramModel, sample
from utils.runtime import progress
from utils.sampling import generate, probabilities, sampler
from utils.text import Vocab, normalize, tokenize
from utils.training import clip_gradients, evaluate, perplexity, train, train_epoch

IDS = torch.arange(3).repeat(40)
CHARS = Vocab(list("abcd"))
GRU, GRU_BOTH_WAYS = nn.GRU(3, 4), nn.GRU(3, 4, bidirectional=True)
GRAM = NGramModel(2, 5)
MODELS = {
    "RNNScratch": lambda: RNNScratch(5, 4, sigma=0.5),
    "deep GRU": lambda: LanguageModel(nn.GRU(3, 4, num_layers=2, bidirectional=True), 5),
    "LSTM": lambda: LanguageModel(nn.LSTM(3, 4), 5),
    "GRUScratch": lambda: LanguageModel(GRUScratch(3, 4), 5),
    "LSTMScratch": lambda: LanguageModel(LSTMScratch(3, 4), 5),
}


def refuses(error, word, call, *args):
    """Assert that a call raises this error, and no subclass, with a message about the argument."""
    with pytest.raises(error, match=f"^{word} must ") as caught:
        call(*args)
    assert caught.type is error


def each(error, word, call, *values):
    return [pytest.param(error, word, call, value, id=f"{word} {value!r:.20}") for value in values]


def with_gradient():
    parameter = torch.zeros(2, requires_grad=True)
    parameter.grad = torch.tensor([30.0, 40.0])
    return parameter


def run(
    lr=1.0, optimizer=None, make_batches=lambda: random_windows(IDS, 2, 5), num_epochs=1, **how
):
    """Train a small model, or another one's optimizer."""
    model = MODELS["RNNScratch"]()
    if optimizer is None:
        optimizer = torch.optim.SGD(model.parameters(), lr)
    return train(model, make_batches, num_epochs, optimizer, **how)


def one_epoch(clip):
    model = MODELS["RNNScratch"]()
    train_epoch(model, [], torch.optim.SGD(model.parameters(), 1.0), clip, False)


def classify(X, lengths, layers=(GRU,), table=None):
    table = table or nn.Embedding(5, 3)
    return Classifier(table, layers, last_state, nn.Linear(4, 1))(X, lengths)


# --- numbers
POSITIVE = [
    ("vocab_size", lambda n: RNNScratch(n, 4)),
    ("num_hiddens", lambda n: RNNScratch(4, n)),
    ("vocab_size", lambda n: LanguageModel(nn.GRU(4, 4), n)),
    ("input_size", lambda n: GRUScratch(n, 4)),
    ("hidden_size", lambda n: LSTMScratch(4, n)),
    ("order", lambda n: NGramModel(n, 4)),
    ("vocab_size", lambda n: NGramModel(2, n)),
    ("num_tokens", lambda n: sample(GRAM, [], n)),
    ("num_tokens", lambda n: generate(MODELS["LSTM"](), CHARS, "a", n)),
    ("num_tokens", lambda n: perplexity(1.0, n)),
    ("min_freq", lambda n: Vocab(["a"], min_freq=n)),
    ("batch_size", lambda n: random_windows(IDS, n, 2)),
    ("batch_size", lambda n: sequential_windows(IDS, n, 2)),
    ("num_steps", lambda n: overlapping_windows(IDS, 2, n)),
    ("batch_size", lambda n: bucket(IDS + 1, n)),
    ("num_batches", lambda n: bucket(IDS + 1, 2, n)),
    ("top_k", lambda n: sampler(top_k=n or 0)),
    ("top_k", lambda n: probabilities(torch.zeros(3), top_k=n or 0)),
    ("num_epochs", lambda n: run(num_epochs=n)),
    ("num_steps", lambda n: evaluate(MODELS["LSTM"](), IDS, n)),
]
ABOVE_0 = [
    ("temperature", lambda x: sampler(temperature=x)),
    ("temperature", lambda x: probabilities(torch.zeros(3), temperature=x)),
    ("top_p", lambda x: sampler(top_p=x)),
    ("theta", lambda x: clip_gradients([with_gradient()], x)),
    ("clip", lambda x: run(clip=x)),
    ("clip", one_epoch),
]


NUMBERS = [(*case, (0, -1), (True, 2.0, "2")) for case in POSITIVE]
NUMBERS += [(*case, (0, -1.0, math.nan), (True, "1", None)) for case in ABOVE_0]


@pytest.mark.parametrize(("name", "call", "too_small", "others"), NUMBERS)
def test_positive_integers_and_numbers_above_0(name, call, too_small, others):
    for value in too_small:
        refuses(ValueError, name, call, value)
    for value in others:
        refuses(TypeError, name, call, value)
    call(1)


def test_bounds_from_above_and_none():
    refuses(ValueError, "top_p", lambda: sampler(top_p=1.1))
    refuses(ValueError, "temperature", lambda: sampler(temperature=math.inf))
    assert clip_gradients([with_gradient()], math.inf) == 50
    assert run(clip=math.inf).perplexities


# --- one call, one error
X, LENGTHS = torch.zeros(2, 3).long(), torch.tensor([3, 1])
NOT_LONG = None, [1, 2], np.array([1, 2]), torch.ones(2), torch.ones(2).int(), torch.ones(2).bool()
NOT_TOKENS = None, 3, "the time", b"time", {"a"}, frozenset("a"), [["the"]], IDS, [IDS[0]]
MANY_TOKENS = torch.tensor(1), IDS, (char for char in "ab"), iter("ab"), range(2), [IDS]
MANY_TOKENS += slice(1), {}, {"a"}, [{}], (["a"],)
NO_LOGITS = None, [1.0], np.ones(2), torch.ones(2).bool(), torch.ones(2) * 1j
CASES = [
    *each(TypeError, "text", normalize, None, 1, b"time", ["time"]),
    *each(TypeError, "text", lambda text: tokenize(text, "char"), b"time"),
    *each(ValueError, "kind", partial(tokenize, "time"), "words", "", None, 1),
    *each(TypeError, "tokens", Vocab, *NOT_TOKENS),
    *each(TypeError, "reserved_tokens", partial(Vocab, [], 1), "<pad>", {"a"}, ({},)),
    *each(TypeError, "tokens", CHARS.__getitem__, *MANY_TOKENS),
    *each(ValueError, "tokens", CHARS.__getitem__, "the", ["a", "the"]),
    *each(IndexError, "indices", CHARS.to_tokens, -1, 5, 1.0, "1", None, IDS[:2], [[1], [-1]]),
    *each(TypeError, "ids", GRAM.fit, None, IDS, "abc", (0, 1), ["a"], [True], [1.0], [IDS[0]]),
    *each(ValueError, "ids", GRAM.fit, [0, 5], [-1]),
    *each(ValueError, "ids", lambda ids: sample(GRAM, ids, 1), [0, 5], [-1]),
    *each(ValueError, "ids", lambda token: GRAM.probability(token, []), 5, -1),
    *each(ValueError, "ids", lambda token: GRAM.probability(0, [token]), 5, -1),
    *each(TypeError, "ids", lambda ids: overlapping_windows(ids, 2, 3), *NOT_LONG),
    *each(ValueError, "ids", lambda ids: evaluate(MODELS["LSTM"](), ids), IDS[:0], IDS[:1], X),
    *each(TypeError, "sequences", pad, None, X, (IDS,), [[1, 2]], [IDS, "ab"], [torch.ones(2)]),
    *each(ValueError, "sequences", pad, [], [torch.tensor(3)], [X], [IDS, IDS[:0]]),
    *each(TypeError, "lengths", lambda lengths: bucket(lengths, 2), *NOT_LONG),
    *each(ValueError, "lengths", lambda lengths: bucket(lengths, 2), IDS, -IDS - 1, X + 1, IDS[:0]),
    *each(ValueError, "lengths", lambda lengths: padding_share(lengths, [IDS]), IDS, X + 1),
    *each(ValueError, "batches", partial(padding_share, LENGTHS), [], (), None, X, iter([IDS])),
    *each(TypeError, "batches", lambda batch: padding_share(LENGTHS, [IDS[:2], batch]), *NOT_LONG),
    *each(ValueError, "batches", partial(padding_share, LENGTHS), [IDS], [X], [IDS[:2] - 1]),
    *each(TypeError, "X", lambda X: classify(X, LENGTHS), *NOT_LONG),
    *each(ValueError, "X", lambda X: classify(X, LENGTHS), X[0], X[None], X[:0], X[:, :0]),
    *each(ValueError, "X", lambda X: classify(X, LENGTHS), X + 5, X - 1),
    *each(TypeError, "lengths", partial(classify, X), *NOT_LONG),
    *each(ValueError, "lengths", partial(classify, X), LENGTHS[None], LENGTHS[:0], LENGTHS[0]),
    *each(ValueError, "lengths", partial(classify, X), LENGTHS[:1], LENGTHS + 1, LENGTHS - 1),
    *each(TypeError, "layers", partial(classify, X, LENGTHS), GRU, None),
    *each(TypeError, "layer", partial(classify, X, LENGTHS), [nn.Linear(3, 4)], [GRU, nn.GRU]),
    *each(ValueError, "layers", partial(classify, X, LENGTHS), [], [GRU] * 3, [GRU, GRU_BOTH_WAYS]),
    *each(ValueError, "layer", partial(classify, X, LENGTHS), [nn.GRU(3, 4, batch_first=True)]),
    *each(TypeError, "layer", lambda it: LanguageModel(it, 5), None, nn.GRU, nn.GRUCell(4, 4)),
    *each(ValueError, "layer", lambda layer: LanguageModel(layer, 5), nn.LSTM(4, 4, proj_size=2)),
    *each(TypeError, "inputs", GRUScratch(3, 4), None, [1.0], np.ones((2, 2, 3)), X),
    *each(ValueError, "inputs", GRUScratch(3, 4), torch.ones(2, 3), torch.ones(2, 2, 4)),
    *each(ValueError, "inputs", LSTMScratch(3, 4), torch.ones(0, 2, 3), torch.ones(2, 2, 4)),
    *each(TypeError, "prefix", lambda prefix: write(MODELS["LSTM"](), prefix), None, ["a"], 1),
    *each(ValueError, "prefix", lambda prefix: write(MODELS["LSTM"](), prefix), ""),
    *each(TypeError, "logits", probabilities, *NO_LOGITS),
    *each(ValueError, "logits", probabilities, torch.ones(2, 3), torch.ones(0), torch.tensor(1.0)),
    *each(TypeError, "description", partial(progress, range(2)), None, 3, b"epochs", ["epochs"]),
    *each(ValueError, "description", partial(progress, range(2)), "", "two\nlines", "a\r"),
    *each(ValueError, "logits", sampler(), torch.tensor([0, math.nan]), torch.ones(2) / 0),
    *each(TypeError, "optimizer", lambda it: run(optimizer=it), "SGD", torch.optim.SGD),
    *each(ValueError, "parameters", lambda given: clip_gradients(given, 1.0), [], [torch.ones(2)]),
]


def write(model, prefix="ab"):
    return generate(model, CHARS, prefix, 3)


@pytest.mark.parametrize(("error", "word", "call", "value"), CASES)
def test_bad_arguments_are_named(error, word, call, value):
    refuses(error, word, call, value)


@pytest.mark.parametrize("name", MODELS)
def test_bad_ids_of_every_model(name):
    model = MODELS[name]()
    for bad in NOT_LONG:
        refuses(TypeError, "X", model, bad)
    for bad in (X[0], X[None], X[:0], X[:, :0], X + 5, X - 1):
        refuses(ValueError, "X", model, bad)
    assert model(torch.tensor([[0, 4]]))[0].isfinite().all(), "the smallest and the largest id"


def test_ids_are_looked_at_on_the_cpu_alone():
    """Elsewhere that would make the device wait, in every step; meta stands in for a GPU."""
    model = MODELS["LSTM"]().to("meta")
    assert model(torch.full((2, 3), 99, device="meta"))[0].shape == (3, 2, 5)


def test_ids_of_a_classifier_whose_table_is_part_of_a_chain():
    table = nn.Sequential(nn.Embedding(5, 3), nn.Dropout())
    refuses(ValueError, "X", lambda: classify(X + 5, LENGTHS, table=table))
    assert classify(X + 4, LENGTHS, table=table).shape == (2,)
    assert classify(X + 5, LENGTHS, table=lambda ids: torch.ones(*ids.shape, 3)).shape == (2,)


# --- states
@pytest.mark.parametrize("name", MODELS)
def test_a_wrong_state_is_refused_and_never_read(name):
    """By PyTorch's layer itself, in its own words, or by ours."""
    model = MODELS[name]()
    _, good = model(X)
    parts = good if isinstance(good, tuple) else (good,)
    wrong = [0, "state", [*parts, 1], (), parts * 2, (parts, parts), (None,) * len(parts)]
    for place in ((..., slice(1), slice(None)), (..., slice(-1)), None, 0):
        spoilt = tuple(H[place] for H in parts)
        wrong += [spoilt if isinstance(good, tuple) else spoilt[0]]
    errors, message = (TypeError, ValueError), r"^state must be "
    if "Scratch" not in name:
        errors, message = (*errors, RuntimeError, AttributeError, IndexError), None
    for state in wrong:
        with pytest.raises(errors, match=message):
            model(X, state)


# --- training that could not work
def test_an_optimizer_of_another_model_is_refused_and_one_of_a_part_of_this_one_is_not():
    model, other = MODELS["RNNScratch"](), MODELS["RNNScratch"]()
    theirs = torch.optim.SGD(other.parameters(), 1.0)
    shared = torch.optim.SGD([model.W_hh, other.W_hh], 1.0)
    for optimizer in (theirs, shared):
        refuses(ValueError, "optimizer", train_epoch, model, [], optimizer, 1.0, False)
    part = torch.optim.SGD([model.W_hh], 1.0)
    assert train_epoch(model, [], part, 1.0, False) == (0, 0)


def test_make_batches_must_begin_anew():
    batches = iter(list(random_windows(IDS, 2, 5)))
    with pytest.raises(ValueError, match=r"^make_batches must .*, got no minibatch in pass 2"):
        run(make_batches=lambda: batches, num_epochs=3)


def test_training_stops_at_a_loss_that_is_not_finite_before_anything_is_saved():
    seen = []
    with pytest.raises(ValueError, match=r"^the loss of pass 1 must be finite .*, got (nan|inf)"):
        run(lr=math.inf, num_epochs=3, on_epoch=seen.append)
    assert not seen


def test_a_diverged_model_does_not_write():
    model = MODELS["LSTM"]()
    with torch.no_grad():
        model.output.bias[:] = math.nan
    refuses(ValueError, "logits", write, model)
