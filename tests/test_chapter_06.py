"""Chapter 06: its cuts and measures of gradients are what it says."""

import pytest
import torch
from notebooks import definitions
from torch import nn
from torch.nn import functional as F

from utils.models import LanguageModel
from utils.runtime import seed
from utils.training import detach, sequence_loss


@pytest.fixture(scope="module")
def chapter():
    """Return the functions that the chapter defines, without its experiments."""
    return definitions(6, "truncated_gradient", "gradient_norms")


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
