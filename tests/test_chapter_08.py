"""Chapter 08: its tasks and measures are what it says."""

import pytest
import torch
from notebooks import definitions
from torch import nn

from utils.models import LSTMScratch
from utils.text import Vocab

NAMES = ["gradient_norms", "adding_batch", "without_spaces", "f1", "CoupledLSTM"]
NAMES += ["set_forget_bias"]


@pytest.fixture(scope="module")
def chapter():
    """Return the functions and classes that the chapter defines, without its experiments."""
    vocabs = {"time_machine": Vocab(list("abcdefghijklmnopqrstuvwxyz "))}
    names = {"vocabs": vocabs, "device": lambda: torch.device("cpu")}
    return definitions(8, *NAMES, **names)


def test_gradient_norms_are_those_of_a_known_product(chapter):
    W = torch.diag(torch.tensor([0.5, 0.5]))
    inputs = torch.zeros(6, 1, 2).requires_grad_()
    norms = chapter.gradient_norms(lambda x, H: [x + H @ W], inputs, [torch.zeros(1, 2)])
    torch.testing.assert_close(norms, 0.5 ** torch.arange(6.0))


def test_an_adding_sequence_marks_one_number_in_each_half(chapter):
    torch.manual_seed(0)
    inputs, targets = chapter.adding_batch(500, 10)
    values, markers = inputs.unbind(dim=2)
    assert inputs.shape == (10, 500, 2) and targets.shape == (500,)
    assert torch.equal(markers[:5].sum(dim=0), torch.ones(500))
    assert torch.equal(markers[5:].sum(dim=0), torch.ones(500))
    assert set(markers.flatten().tolist()) == {0.0, 1.0}
    torch.testing.assert_close(targets, (values * markers).sum(dim=0))
    assert (markers.sum(dim=1) > 0).all(), "every place is marked in some sequence"


def test_spaces_are_taken_out_and_remembered(chapter):
    letters, spaces = chapter.without_spaces("the time machine")
    assert "".join(chapter.vocabs["time_machine"].to_tokens(letters.tolist())) == "thetimemachine"
    assert spaces.tolist() == [0, 0, 1, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 1]


def test_f1_is_the_harmonic_mean_of_precision_and_recall(chapter):
    class Fixed(nn.Module):
        def forward(self, X):
            return torch.tensor([[1.0, 1.0, 1.0, -1.0, -1.0]])

    Y = torch.tensor([[1, 1, 0, 1, 0]])
    precision, recall = 2 / 3, 2 / 3
    expected = 2 * precision * recall / (precision + recall)
    assert chapter.f1(Fixed(), torch.zeros(1, 5), Y) == pytest.approx(expected)


def test_the_coupled_lstm_ties_its_gates(chapter):
    torch.manual_seed(0)
    layer, full = chapter.CoupledLSTM(2, 4), LSTMScratch(2, 4)
    W_f, W_g, W_o = layer.joint.weight.detach().chunk(3)
    b_f, b_g, b_o = layer.joint.bias.detach().chunk(3)
    joined = torch.cat((-W_f, W_f, W_g, W_o)).T  # the input gate is 1 minus the forget gate
    with torch.no_grad():
        full.W_x.copy_(joined[:2])
        full.W_h.copy_(joined[2:])
        full.b.copy_(torch.cat((-b_f, b_f, b_g, b_o)))
    inputs = torch.randn(5, 3, 2)
    torch.testing.assert_close(layer(inputs)[0], full(inputs)[0])


def test_the_forget_bias_is_set_in_one_place_only(chapter):
    layer = nn.LSTM(2, 4)
    before = layer.bias_ih_l0.detach().clone()
    chapter.set_forget_bias(layer, 3.0)
    f = (layer.bias_ih_l0 + layer.bias_hh_l0).detach().chunk(4)[1]
    assert torch.equal(f, torch.full((4,), 3.0))
    assert torch.equal(layer.bias_ih_l0.detach()[:4], before[:4])
    gru = nn.GRU(2, 4)
    weights = [p.detach().clone() for p in gru.parameters()]
    chapter.set_forget_bias(gru, 3.0)
    assert all(torch.equal(a, b) for a, b in zip(weights, gru.parameters(), strict=True))
