"""Classifier: it equals reading each text alone, whatever the padding, in both directions."""

from functools import partial

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn
from torch.nn import functional as F

from utils.batching import pad
from utils.models import Classifier, GRUScratch, LSTMScratch, last_state, max_and_mean, reverse

VOCAB_SIZE, NUM_INPUTS, NUM_HIDDENS = 11, 5, 4
LAYERS = {
    "RNN": nn.RNN,
    "GRU": nn.GRU,
    "LSTM": nn.LSTM,
    "RNN with relu": partial(nn.RNN, nonlinearity="relu"),
    "GRU, two layers": partial(nn.GRU, num_layers=2),
    "GRU, the paper's": GRUScratch,
    "LSTM from scratch": LSTMScratch,
}


def mean_of_ends(hiddens, lengths):
    return (hiddens[0] + last_state(hiddens, lengths)) / 2


POOLS = {last_state: 1, max_and_mean: 2, mean_of_ends: 1}  # features for each hidden unit

directions = pytest.mark.parametrize("num_directions", [1, 2])
close = partial(torch.testing.assert_close, rtol=0, atol=1e-10)


def make(kind, num_directions, pool):
    torch.manual_seed(0)
    layers = [LAYERS[kind](NUM_INPUTS, NUM_HIDDENS) for _ in range(num_directions)]
    output = nn.Linear(num_directions * POOLS[pool] * NUM_HIDDENS, 1)
    return Classifier(nn.Embedding(VOCAB_SIZE, NUM_INPUTS), layers, pool, output).double()


def some_texts():
    torch.manual_seed(1)
    return [torch.randint(VOCAB_SIZE, (length,)) for length in (3, 7, 1, 7, 4)]


def gradients(model, logits):
    """Return {name: gradient} of a loss that asks every text for something else."""
    model.zero_grad()
    F.binary_cross_entropy_with_logits(logits, torch.arange(len(logits)).double() % 2).backward()
    named = model.named_parameters()
    return {name: p.grad.clone() for name, p in named if p.grad is not None}


# --- Parity
@directions
@pytest.mark.parametrize("pool", POOLS)
@pytest.mark.parametrize("kind", LAYERS)
def test_equals_reading_each_text_alone_whatever_the_padding(kind, pool, num_directions):
    model, texts = make(kind, num_directions, pool), some_texts()
    alone = []
    for text in texts:
        features = []
        for layer, reading in zip(model.layers, [text, text.flip(0)], strict=False):
            hiddens, _ = layer(model.embedding(reading)[:, None])
            features.append(pool(hiddens, torch.tensor([len(text)])))
        alone.append(model.output(torch.cat(features, dim=1)).squeeze())
        close(model(*pad([text])), alone[-1][None], atol=1e-12)
    expected = gradients(model, torch.stack(alone))
    for value, more in ((0, 0), (0, 6), (3, 1), (VOCAB_SIZE - 1, 0)):
        X, lengths = pad([*texts, torch.zeros(max(map(len, texts)) + more).long()], value)
        logits = model(X[:-1], lengths[:-1])
        close(logits, torch.stack(alone))
        ours = gradients(model, logits)
        assert ours.keys() == expected.keys()
        for name in ours:
            close(ours[name], expected[name])


# --- reverse, last_state, max_and_mean
def test_reverse_leaves_the_padding_in_its_place():
    X, lengths = pad([torch.tensor([1, 2, 3]), torch.tensor([4])], 9)
    assert reverse(X, lengths).tolist() == [[3, 2, 1], [4, 9, 9]]


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
        assert torch.equal(features[row, :NUM_HIDDENS], text.amax(dim=0))
        close(features[row, NUM_HIDDENS:], text.mean(dim=0), atol=1e-12)
        assert grad[:length, row].all() and not grad[length:, row].any()
