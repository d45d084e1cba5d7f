"""Classifier: parity with packed sequences, padding that never matters, both directions."""

from functools import partial

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn
from torch.nn import functional as F
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence

from utils.batching import pad
from utils.models import (
    Classifier,
    GRUScratch,
    LSTMScratch,
    last_state,
    max_and_mean,
    reverse,
)

VOCAB_SIZE, NUM_INPUTS, NUM_HIDDENS = 11, 5, 4
TORCH = {"RNN": nn.RNN, "GRU": nn.GRU, "LSTM": nn.LSTM}
LAYERS = TORCH | {
    "RNN with relu": partial(nn.RNN, nonlinearity="relu"),
    "GRU, two layers": partial(nn.GRU, num_layers=2),
    "GRU, the paper's": GRUScratch,
    "LSTM from scratch": LSTMScratch,
}


def mean_of_ends(hiddens, lengths):
    return (hiddens[0] + last_state(hiddens, lengths)) / 2


POOLS = {last_state: 1, max_and_mean: 2, mean_of_ends: 1}  # features for each hidden unit

kinds = pytest.mark.parametrize("kind", LAYERS)
pools = pytest.mark.parametrize("pool", POOLS)
directions = pytest.mark.parametrize("num_directions", [1, 2])


def make(kind="LSTM", num_directions=2, pool=last_state, padding_idx=None):
    torch.manual_seed(0)
    layers = [LAYERS[kind](NUM_INPUTS, NUM_HIDDENS) for _ in range(num_directions)]
    output = nn.Linear(num_directions * POOLS[pool] * NUM_HIDDENS, 1)
    embedding = nn.Embedding(VOCAB_SIZE, NUM_INPUTS, padding_idx=padding_idx)
    return Classifier(embedding, layers, pool, output).double()


def some_texts(lengths=(3, 7, 1, 7, 4), low=0):
    torch.manual_seed(1)
    return [torch.randint(low, VOCAB_SIZE, (length,)) for length in lengths]


def close(actual, expected, atol=1e-10):
    torch.testing.assert_close(actual, expected, rtol=0, atol=atol)


def gradients(model, logits):
    """Return {name: gradient} of a loss that asks every text for something else."""
    model.zero_grad()
    F.binary_cross_entropy_with_logits(logits, torch.arange(len(logits)).double() % 2).backward()
    named = model.named_parameters()
    return {name: p.grad.clone() for name, p in named if p.grad is not None}


def all_close(actual, expected, atol=1e-10):
    assert actual.keys() == expected.keys()
    for name in actual:
        close(actual[name], expected[name], atol)


# --- Parity ----------------------------------------------------------------------------------


def packed(kind, model):
    """Return torch's own layer with the weights of the model's layers, and their names in it."""
    both_ways = len(model.layers) == 2
    theirs = TORCH[kind](NUM_INPUTS, NUM_HIDDENS, bidirectional=both_ways).double()
    names = {}
    for direction, layer in enumerate(model.layers):
        for name, weight in layer.named_parameters():
            names[f"layers.{direction}.{name}"] = name + "_reverse" * direction
            with torch.no_grad():
                getattr(theirs, names[f"layers.{direction}.{name}"]).copy_(weight)
    return theirs, names


@directions
@pytest.mark.parametrize("pool", [last_state, max_and_mean])
@pytest.mark.parametrize("kind", TORCH)
def test_equals_torch_on_packed_sequences(kind, pool, num_directions):
    model = make(kind, num_directions, pool)
    theirs, names = packed(kind, model)
    X, lengths = pad(some_texts(), value=2)
    logits = model(X, lengths)
    ours = gradients(model, logits)

    model.zero_grad()
    sequence = pack_padded_sequence(model.embedding(X.T), lengths, enforce_sorted=False)
    outputs, state = theirs(sequence)
    if pool is last_state:
        H = state[0] if kind == "LSTM" else state
        features = torch.cat([*H], dim=1)  # (batch_size, num_directions * num_hiddens)
    else:
        outputs, _ = pad_packed_sequence(outputs)
        ways = outputs.chunk(num_directions, dim=2)
        rows = [
            torch.cat([f(way[:length, row]) for way in ways for f in (largest, mean)])
            for row, length in enumerate(lengths)
        ]
        features = torch.stack(rows)
    torch_logits = model.output(features)[:, 0]
    close(logits, torch_logits)
    expected = gradients(model, torch_logits)
    for name, name_there in names.items():
        expected[name] = getattr(theirs, name_there).grad
    all_close(ours, expected)


def largest(hiddens):
    return hiddens.max(dim=0).values


def mean(hiddens):
    return hiddens.mean(dim=0)


@directions
@pools
@kinds
def test_equals_reading_each_text_alone(kind, pool, num_directions):
    """Without a minibatch there is no padding: logits and gradients are those of the loop."""
    model, texts = make(kind, num_directions, pool), some_texts()
    logits = model(*pad(texts))
    ours = gradients(model, logits)
    alone = []
    for text in texts:
        features = []
        for layer, reading in zip(model.layers, [text, text.flip(0)], strict=False):
            hiddens, _ = layer(model.embedding(reading)[:, None])
            features.append(pool(hiddens, torch.tensor([len(text)])))
        alone.append(model.output(torch.cat(features, dim=1)).squeeze())
        close(model(*pad([text])), alone[-1][None], 1e-12)
    close(logits, torch.stack(alone))
    all_close(ours, gradients(model, torch.stack(alone)))


def test_parameters_as_counted_by_hand():
    counted = VOCAB_SIZE * NUM_INPUTS
    counted += 2 * 4 * NUM_HIDDENS * (NUM_INPUTS + NUM_HIDDENS + 2)
    counted += 2 * 2 * NUM_HIDDENS + 1
    assert sum(p.numel() for p in make(pool=max_and_mean).parameters()) == counted


# --- Padding never matters -------------------------------------------------------------------


@directions
@pools
@kinds
def test_more_padding_and_other_padding_change_nothing(kind, pool, num_directions):
    model = make(kind, num_directions, pool)
    X, lengths = pad(some_texts())
    logits = model(X, lengths)
    grads = gradients(model, logits)
    for value, more in ((0, 6), (3, 1), (VOCAB_SIZE - 1, 0)):
        padded, _ = pad([*some_texts(), torch.zeros(X.shape[1] + more).long()], value)
        again = model(padded[:-1], lengths)
        close(again, logits, 1e-12)
        all_close(gradients(model, again), grads, 1e-12)


@kinds
def test_padding_gets_no_gradient_and_every_token_of_a_text_gets_one(kind):
    """Not the row of padding_idx, and no other row that only stands in the padding."""
    for pool in (last_state, max_and_mean):
        for padding_idx in (0, None):
            model = make(kind, 2, pool, padding_idx)
            X, lengths = pad(some_texts(low=1), value=0)
            grad = gradients(model, model(X, lengths))["embedding.weight"]
            assert not grad[0].any()
            assert grad[X[X > 0]].any(dim=1).all()


# --- reverse, last_state, max_and_mean -------------------------------------------------------


@settings(max_examples=40)
@given(
    texts=st.lists(st.lists(st.integers(0, 9), min_size=1, max_size=9), min_size=1, max_size=6),
    value=st.integers(-1, 9),
)
def test_reverse_is_python_s_undoes_itself_and_leaves_its_argument(texts, value):
    X, lengths = pad([torch.tensor(text) for text in texts], value)
    turned, _ = pad([torch.tensor(text[::-1]) for text in texts], value)
    kept = X.clone()
    assert torch.equal(reverse(X, lengths), turned)
    assert torch.equal(reverse(turned, lengths), X)
    assert torch.equal(X, kept)


@settings(max_examples=40)
@given(lengths=st.lists(st.integers(1, 9), min_size=1, max_size=6), more=st.integers(0, 4))
def test_pools_equal_a_loop_over_texts(lengths, more):
    torch.manual_seed(3)
    hiddens = torch.randn(max(lengths) + more, len(lengths), NUM_HIDDENS, dtype=torch.float64)
    hiddens -= 10  # zeros of a mask would be the largest
    for row, length in enumerate(lengths):
        hiddens[length:, row] = 100  # and these the largest of the padding
    hiddens.requires_grad_()
    features = max_and_mean(hiddens, torch.tensor(lengths))
    ends = last_state(hiddens, torch.tensor(lengths))
    assert features.shape == (len(lengths), 2 * NUM_HIDDENS) and ends.shape == hiddens.shape[1:]
    (grad,) = torch.autograd.grad(features.sum() + ends.sum(), hiddens)
    for row, length in enumerate(lengths):
        text = hiddens[:length, row]
        assert torch.equal(ends[row], text[-1])
        assert torch.equal(features[row, :NUM_HIDDENS], largest(text))
        close(features[row, NUM_HIDDENS:], mean(text), 1e-12)
        assert grad[:length, row].all() and not grad[length:, row].any()
