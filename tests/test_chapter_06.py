"""Chapter 06: its gradients are those of autograd, and its cuts and measures are what it says."""

import pytest
import torch
from notebooks import definitions
from torch import nn
from torch.nn import functional as F

from utils.models import LanguageModel
from utils.runtime import seed
from utils.training import detach, sequence_loss

NAMES = ["forward", "logits_gradient", "three_steps_back", "walk_back", "truncated_gradient"]
NAMES += ["gradient_norms", "recurrent_matrix"]


@pytest.fixture(scope="module")
def chapter():
    """Return the functions that the chapter defines, without its experiments."""
    return definitions(6, *NAMES)


def random_network(num_steps, batch_size=3, num_inputs=5, num_hiddens=7, num_outputs=4):
    """Return inputs, first state, targets and the five parameters, in double precision."""
    shapes = {
        "W_xh": (num_inputs, num_hiddens),
        "W_hh": (num_hiddens, num_hiddens),
        "b_h": (num_hiddens,),
        "W_hq": (num_hiddens, num_outputs),
        "b_q": (num_outputs,),
    }
    weights = {name: torch.randn(shape).double().requires_grad_() for name, shape in shapes.items()}
    inputs = torch.randn(num_steps, batch_size, num_inputs).double()
    H = torch.randn(batch_size, num_hiddens).double()
    return inputs, H, torch.randint(num_outputs, (batch_size, num_steps)), weights


def test_three_steps_by_hand_equal_autograd(chapter):
    seed(0)
    inputs, start, Y, weights = random_network(3)
    H, logits = chapter.forward(inputs, start, **weights)
    expected = torch.autograd.grad(sequence_loss(logits, Y), list(weights.values()))
    dO = chapter.logits_gradient(logits, Y)
    by_hand = chapter.three_steps_back(inputs, H, dO, weights["W_hh"], weights["W_hq"])
    assert list(by_hand) == list(weights)
    for name, gradient in zip(weights, expected, strict=True):
        torch.testing.assert_close(by_hand[name], gradient, rtol=0, atol=1e-10)


@pytest.mark.parametrize("num_steps", [1, 10])
def test_walking_back_equals_autograd_for_any_length(chapter, num_steps):
    seed(0)
    inputs, start, Y, weights = random_network(num_steps)
    inputs.requires_grad_()
    start.requires_grad_()
    H, logits = chapter.forward(inputs, start, **weights)
    wanted = [start, inputs, weights["W_hh"]]
    expected = torch.autograd.grad(sequence_loss(logits, Y), wanted)
    dH = chapter.logits_gradient(logits, Y) @ weights["W_hq"].T
    delta = chapter.walk_back(dH, H, weights["W_hh"])
    found = [
        delta[0] @ weights["W_hh"].T,
        delta @ weights["W_xh"].T,
        (H[:-1].mT @ delta).sum(0),
    ]
    for a, b in zip(found, expected, strict=True):
        torch.testing.assert_close(a, b, rtol=0, atol=1e-10)


def test_truncated_gradient_over_the_whole_length_is_the_full_one(chapter):
    seed(0)
    model = LanguageModel(nn.RNN(8, 8), 6).double()
    X, Y = torch.randint(6, (2, 3, 12))
    sequence_loss(model(X)[0], Y).backward()
    full = model.layer.weight_hh_l0.grad.flatten()
    torch.testing.assert_close(chapter.truncated_gradient(model, X, Y, 12), full)
    assert not torch.allclose(chapter.truncated_gradient(model, X, Y, 4), full)


def test_truncated_gradient_lacks_what_crosses_a_cut(chapter):
    seed(0)
    model = LanguageModel(nn.RNN(8, 8), 6).double()
    X = torch.randint(6, (3, 8))
    Y = torch.full_like(X, -100)
    Y[:, -1] = 2
    found = chapter.truncated_gradient(model, X, Y, 4)
    _, state = model(X[:, :4])
    model.zero_grad()
    logits, _ = model(X[:, 4:], detach(state))
    (sequence_loss(logits, Y[:, 4:]) * 3 / Y.numel()).backward()  # 3 losses count
    torch.testing.assert_close(found, model.layer.weight_hh_l0.grad.flatten())


@pytest.mark.parametrize("factor", [0.9, 1.1])
def test_gradient_norms_of_a_scaled_rotation_are_powers(chapter, factor):
    seed(0)
    layer = nn.RNN(16, 16, bias=False).double()
    nn.init.orthogonal_(layer.weight_hh_l0, gain=factor)
    norms = chapter.gradient_norms(layer, torch.zeros(31, 2, 16).double())
    expected = (factor ** torch.arange(31).double())[:, None].expand(31, 2)
    torch.testing.assert_close(norms, expected)


def test_gradient_norms_of_an_lstm_count_both_parts_of_the_state(chapter):
    seed(0)
    layer, inputs = nn.LSTM(4, 5).double(), torch.randn(3, 1, 4).double()
    seed(1)
    norms = chapter.gradient_norms(layer, inputs)
    seed(1)
    v = F.normalize(torch.randn(1, 1, 5).double(), dim=-1)
    _, state = layer(inputs[:2])
    state = tuple(part.detach().requires_grad_() for part in state)
    _, (H, _) = layer(inputs[2:], state)
    grads = torch.autograd.grad((H * v).sum(), state)
    assert norms.shape == (3, 1)
    assert norms[0].item() == pytest.approx(1)
    assert norms[1].item() == pytest.approx(sum(g.square().sum() for g in grads).sqrt().item())


@pytest.mark.parametrize("radius", [0.9, 1.1])
def test_recurrent_matrix_has_the_radius_asked_for(chapter, radius):
    seed(0)
    W = chapter.recurrent_matrix(20, radius)
    assert torch.linalg.eigvals(W).abs().max().item() == pytest.approx(radius)
