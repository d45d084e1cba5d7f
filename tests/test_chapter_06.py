"""Chapter 06: its cuts and measures of gradients are what it says."""

import pytest
import torch
from notebooks import definitions
from torch import nn
from torch.nn import functional as F

from utils.models import LanguageModel, RNNScratch
from utils.runtime import seed
from utils.training import detach, sequence_loss


@pytest.fixture(scope="module")
def chapter():
    names = ["truncated_gradient", "at_first_token", "gradient_norms", "scaled", "halving"]
    sizes = ["MeasureConfig", "measure", "AgesConfig", "grown"]
    return definitions(
        6, *names, *sizes, "follow", "most_stretched", vocab=range(6), train_ids=letters()
    )


def letters():
    """Return ids of a text that is long enough to follow a gradient through."""
    return torch.arange(10_000) ** 2 % 7 % 6


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


@pytest.mark.parametrize("length", [1, 4, 6, 12])
def test_the_first_token_is_taught_by_its_own_window_alone(chapter, length):
    seed(0)
    model = LanguageModel(nn.RNN(8, 8), 6).double()
    X = torch.tensor([[5, 0, 1, 2, 3, 4, 0, 1, 2, 3, 4, 0]])  # 5 comes first and nowhere else
    Y = torch.full_like(X, -100)
    Y[:, 5] = 2
    loss = F.cross_entropy(model(X)[0][5], Y[:, 5]) / Y.numel()
    (grad,) = torch.autograd.grad(loss, model.embedding.weight)
    expected = grad[5].norm().item() if length >= 6 else 0
    assert chapter.at_first_token(model, X, Y, length) == pytest.approx(expected)
    assert grad[5].any()


def test_gradient_norms_where_every_slope_is_one_are_those_of_a_power(chapter):
    seed(0)
    layer = nn.RNN(4, 16, bias=False).double()
    with torch.no_grad():
        layer.weight_hh_l0.copy_(chapter.scaled(layer.weight_hh_l0, 1.1))
    assert torch.linalg.eigvals(layer.weight_hh_l0.detach()).abs().max() == pytest.approx(1.1)
    seed(1)
    norms = chapter.gradient_norms(layer, torch.zeros(9, 1, 4).double())
    seed(1)
    v = F.normalize(torch.randn(1, 1, 16, dtype=torch.float64), dim=-1)[0]
    expected = [(v @ torch.linalg.matrix_power(layer.weight_hh_l0, m)).norm() for m in range(9)]
    torch.testing.assert_close(norms[:, 0], torch.stack(expected))


def test_halving_is_read_off_the_norms_at_1_and_100(chapter):
    norms = 0.5 ** (torch.arange(101.0) / 20)
    assert chapter.halving(norms[:, None].expand(-1, 3)) == pytest.approx(20)


def test_the_network_that_is_followed_is_the_trained_one(chapter):
    """After one more step the norm is that of the slopes and the matrix of the model itself."""
    seed(3)
    model = RNNScratch(6, chapter.grown.num_hiddens, sigma=0.05)
    norms, slopes = chapter.follow(model.state_dict())
    assert norms.shape == (chapter.measure.num_steps, chapter.grown.num_places)
    model = model.double()
    steps = torch.arange(chapter.measure.burn_in + chapter.measure.num_steps)
    X = letters()[steps][None]  # the first place
    with torch.no_grad():
        states = model.recur(F.embedding(X.T, model.W_xh + model.b_h), torch.zeros(1, 512).double())
        seed(0)
        nn.RNN(6, 512).double()  # the layer's own draws come first
        v = torch.randn(1, chapter.grown.num_places, 512, dtype=torch.float64)
        v = F.normalize(v, dim=-1)[0, :1]
        back = v * (1 - states[-1] ** 2) @ model.W_hh.T
    assert norms[1, 0].item() == pytest.approx(back.norm().item(), rel=1e-4)
    torch.testing.assert_close(slopes[-1, 0], 1 - states[-1, 0] ** 2, rtol=1e-4, atol=1e-4)
    most = chapter.most_stretched(model.W_hh.detach(), slopes[-1:, 0])
    jacobian = torch.diag(slopes[-1, 0]) @ model.W_hh.detach().T
    assert most == pytest.approx(torch.linalg.matrix_norm(jacobian, 2).item())
