"""Chapter 05: the books' step by hand against nn.RNN, what looks ahead, what fits through."""

import json
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from utils.models import LanguageModel, RNNScratch
from utils.training import sequence_loss

CHAPTER = Path(__file__).parents[1] / "chapters" / "05_rnn_concise.ipynb"
WANTED = ("def by_hand(", "def copy_weights(", "def count(", "def changed(", "class Handover(")
NAMES = {"W_xh": "W_xh", "W_hh": "W_back", "b_h": "b_h", "W_hq": "W_hq", "b_q": "b_q"}


@pytest.fixture(scope="module")
def chapter():
    """The wanted definitions of the chapter, without the experiments around them."""
    names = {"torch": torch, "nn": nn, "F": F}
    for cell in json.loads(CHAPTER.read_text(encoding="utf-8"))["cells"]:
        source = "".join(cell["source"])
        if cell["cell_type"] == "code" and any(name in source for name in WANTED):
            exec(source, names)
    return SimpleNamespace(**names)


@pytest.fixture
def layer():
    torch.manual_seed(0)
    return nn.RNN(5, 2)


@torch.no_grad()
def test_both_biases_give_the_layer(chapter, layer):
    inputs = torch.randn(3, 4, 5)
    states = chapter.by_hand(layer, inputs, layer.bias_ih_l0, layer.bias_hh_l0)
    torch.testing.assert_close(states, layer(inputs)[0])


@torch.no_grad()
def test_one_bias_twice_does_not(chapter, layer):
    inputs = torch.randn(3, 4, 5)
    for bias in (layer.bias_ih_l0, layer.bias_hh_l0):
        states = chapter.by_hand(layer, inputs, bias, bias)
        assert not torch.allclose(states, layer(inputs)[0], rtol=0.1)


@pytest.mark.parametrize("num_hiddens", [1, 7, 32])
def test_two_biases_have_the_gradient_of_their_sum(chapter, num_hiddens):
    torch.manual_seed(0)
    scratch = RNNScratch(9, num_hiddens, sigma=0.3).double()
    model = LanguageModel(nn.RNN(9, num_hiddens), 9).double()
    chapter.copy_weights(scratch, model)
    X, Y = torch.randint(9, (2, 3, 6))
    logits = [network(X)[0] for network in (scratch, model)]
    torch.testing.assert_close(*logits)
    for output in logits:
        sequence_loss(output, Y).backward()
    for bias in (model.layer.bias_ih_l0, model.layer.bias_hh_l0):
        torch.testing.assert_close(bias.grad, scratch.b_h.grad)


@pytest.mark.parametrize("sizes", [(28, 32, 1, 1), (3, 4, 2, 1), (3, 4, 1, 2), (5, 2, 3, 2)])
def test_the_formula_counts_the_parameters(chapter, sizes):
    num_inputs, num_hiddens, num_layers, num_directions = sizes
    layer = nn.RNN(num_inputs, num_hiddens, num_layers, bidirectional=num_directions == 2)
    assert chapter.count(*sizes) == sum(p.numel() for p in layer.parameters())


@pytest.mark.parametrize("cell", [nn.RNN, nn.GRU, nn.LSTM])
@pytest.mark.parametrize("num_layers", [1, 2])
def test_only_two_directions_look_ahead(chapter, cell, num_layers):
    torch.manual_seed(0)
    X = torch.randint(28, (2, 6))
    for bidirectional, steps in ((False, [5]), (True, list(range(6)))):
        layer = cell(8, 8, num_layers, bidirectional=bidirectional)
        assert chapter.changed(LanguageModel(layer, 28).double(), X) == steps


def test_recurrence_through_the_output_has_its_rank(chapter):
    torch.manual_seed(0)
    jordan = chapter.Handover("output → hidden", 5, 12).double()
    elman = chapter.Handover("hidden → hidden", 5, 12).double()
    with torch.no_grad():
        for name in ("W_xh", "W_hq"):
            getattr(elman, name).copy_(getattr(jordan, name))
        elman.W_back.copy_(jordan.W_hq @ jordan.W_back)
    X = torch.randint(5, (3, 7))
    torch.testing.assert_close(jordan(X)[0], elman(X)[0])  # all biases are zero
    assert torch.linalg.matrix_rank(elman.W_back) == 5


def test_a_free_state_is_the_scratch_model(chapter):
    torch.manual_seed(0)
    ours, elman = RNNScratch(5, 12), chapter.Handover("hidden → hidden", 5, 12)
    with torch.no_grad():
        for a, b in NAMES.items():
            getattr(elman, b).copy_(getattr(ours, a))
    X = torch.randint(5, (3, 7))
    torch.testing.assert_close(ours(X)[0], elman(X)[0])


def test_output_to_output_sees_no_two_characters_together(chapter):
    """Its logits are a sum over the characters: exchanging two of them changes it by parts."""
    torch.manual_seed(0)
    model = chapter.Handover("output → output", 5, 12).double()
    logits = {
        pair: model(torch.tensor([pair]))[0][-1, 0] for pair in ((0, 1), (2, 1), (0, 3), (2, 3))
    }
    mixed = logits[0, 1] - logits[2, 1] - logits[0, 3] + logits[2, 3]
    torch.testing.assert_close(mixed, torch.zeros_like(mixed))
