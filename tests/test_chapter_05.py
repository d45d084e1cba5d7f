"""Chapter 05: the books' step by hand against nn.RNN, what looks ahead, what fits through."""

import pytest
import torch
from notebooks import definitions
from torch import nn

from utils.models import LanguageModel, RNNScratch
from utils.training import sequence_loss


@pytest.fixture(scope="module")
def chapter():
    """Return what the chapter defines, without its experiments."""
    return definitions(5, "by_hand", "copy_weights", "count", "changed", "Handover")


@torch.no_grad()
def test_both_biases_give_the_layer_and_one_of_them_twice_does_not(chapter):
    torch.manual_seed(0)
    layer, inputs = nn.RNN(5, 2), torch.randn(3, 4, 5)
    one, other = layer.bias_ih_l0, layer.bias_hh_l0
    expected, _ = layer(inputs)
    torch.testing.assert_close(chapter.by_hand(layer, inputs, one, other), expected)
    for bias in (one, other):
        assert not torch.allclose(chapter.by_hand(layer, inputs, bias, bias), expected, rtol=0.1)


def test_two_biases_have_the_gradient_of_their_sum(chapter):
    torch.manual_seed(0)
    scratch = RNNScratch(9, 7, sigma=0.3).double()
    model = LanguageModel(nn.RNN(9, 7), 9).double()
    chapter.copy_weights(scratch, model)
    X, Y = torch.randint(9, (2, 3, 6))
    logits = [network(X)[0] for network in (scratch, model)]
    torch.testing.assert_close(*logits)
    for output in logits:
        sequence_loss(output, Y).backward()
    for bias in (model.layer.bias_ih_l0, model.layer.bias_hh_l0):
        torch.testing.assert_close(bias.grad, scratch.b_h.grad)


@pytest.mark.parametrize("sizes", [(28, 32, 1, 1), (3, 4, 2, 1), (5, 2, 3, 2)])
def test_the_formula_counts_the_parameters(chapter, sizes):
    num_inputs, num_hiddens, num_layers, num_directions = sizes
    layer = nn.RNN(num_inputs, num_hiddens, num_layers, bidirectional=num_directions == 2)
    assert chapter.count(*sizes) == sum(p.numel() for p in layer.parameters())


@pytest.mark.parametrize(("cell", "num_layers"), [(nn.RNN, 1), (nn.GRU, 2), (nn.LSTM, 1)])
def test_only_two_directions_look_ahead(chapter, cell, num_layers):
    torch.manual_seed(0)
    X = torch.randint(28, (2, 6))
    for bidirectional, steps in ((False, [5]), (True, list(range(6)))):
        layer = cell(8, 8, num_layers, bidirectional=bidirectional)
        assert chapter.changed(LanguageModel(layer, 28).double(), X) == steps


def test_recurrence_through_the_output_has_its_rank_and_a_free_state_is_the_scratch_model(chapter):
    torch.manual_seed(0)
    jordan, elman = (chapter.Handover(f"{of} → hidden", 5, 12) for of in ("output", "hidden"))
    ours, X = RNNScratch(5, 12), torch.randint(5, (3, 7))
    with torch.no_grad():
        for name in ("W_xh", "W_hq"):
            for model in (elman, ours):
                getattr(model, name).copy_(getattr(jordan, name))
        for matrix in (elman.W_back, ours.W_hh):
            matrix.copy_(jordan.W_hq @ jordan.W_back)
    torch.testing.assert_close(jordan(X)[0], elman(X)[0])  # all biases are zero
    assert torch.linalg.matrix_rank(elman.W_back) == 5
    with torch.no_grad():
        for a, b in (("b_h", "b_h"), ("b_q", "b_q"), ("W_back", "W_hh")):
            getattr(ours, b).copy_(getattr(elman, a).normal_())
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
