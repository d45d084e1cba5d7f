"""RNNScratch: shapes, parity with nn.RNN in outputs and gradients, and bad sizes."""

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from utils.models import RNNScratch

VOCAB_SIZE, NUM_HIDDENS = 28, 16


def parity_pair():
    """Return our model and an nn.RNN with the same weights, both in double precision."""
    torch.manual_seed(0)
    ours = RNNScratch(VOCAB_SIZE, NUM_HIDDENS, sigma=0.3).double()
    layer = nn.RNN(VOCAB_SIZE, NUM_HIDDENS).double()
    with torch.no_grad():
        ours.b_h.normal_()
        layer.weight_ih_l0.copy_(ours.W_xh.T)
        layer.weight_hh_l0.copy_(ours.W_hh.T)
        layer.bias_ih_l0.copy_(ours.b_h)
        layer.bias_hh_l0.zero_()
    return ours, layer


def test_shapes():
    model = RNNScratch(VOCAB_SIZE, 512)
    logits, state = model(torch.arange(10).reshape(2, 5))
    assert logits.shape == (5, 2, 28)
    assert logits.flatten(0, 1).shape == (10, 28)
    assert len(state) == 1 and state[0].shape == (2, 512)


def test_parameters_as_counted_by_hand():
    model = RNNScratch(VOCAB_SIZE, 512)
    counted = 28 * 512 + 512 * 512 + 512 + 512 * 28 + 28
    assert sum(p.numel() for p in model.parameters()) == counted


@pytest.mark.parametrize("with_state", [False, True])
def test_equals_torch_in_outputs_and_gradients(with_state):
    ours, layer = parity_pair()
    X, Y = torch.randint(VOCAB_SIZE, (2, 4, 20))
    H = torch.randn(4, NUM_HIDDENS, dtype=torch.float64, requires_grad=True)
    logits, (last,) = ours(X, (H,) if with_state else None)
    one_hot = F.one_hot(X.T, VOCAB_SIZE).double()
    states, torch_last = layer(one_hot, H[None] if with_state else None)
    torch_logits = states @ ours.W_hq + ours.b_q
    torch.testing.assert_close(logits, torch_logits, rtol=0, atol=1e-10)
    torch.testing.assert_close(last, torch_last[0], rtol=0, atol=1e-10)

    weights = [layer.weight_ih_l0, layer.weight_hh_l0, layer.bias_ih_l0]
    targets = Y.T.flatten()
    ours_loss = F.cross_entropy(logits.flatten(0, 1), targets)
    torch_loss = F.cross_entropy(torch_logits.flatten(0, 1), targets)
    states_in = [H] if with_state else []
    ours_grads = torch.autograd.grad(ours_loss, [ours.W_xh, ours.W_hh, ours.b_h, *states_in])
    torch_grads = torch.autograd.grad(torch_loss, weights + states_in)
    for a, b in zip(ours_grads[:3], torch_grads[:3], strict=True):
        torch.testing.assert_close(a, b.t(), rtol=0, atol=1e-10)
    for a, b in zip(ours_grads[3:], torch_grads[3:], strict=True):
        torch.testing.assert_close(a, b, rtol=0, atol=1e-10)


def test_state_carries_the_past():
    torch.manual_seed(0)
    model = RNNScratch(VOCAB_SIZE, NUM_HIDDENS, sigma=0.3)
    X = torch.randint(VOCAB_SIZE, (2, 8))
    whole, _ = model(X)
    first, state = model(X[:, :3])
    second, _ = model(X[:, 3:], state)
    torch.testing.assert_close(torch.cat((first, second)), whole)


@pytest.mark.parametrize(
    ("sizes", "error", "named"),
    [
        ((0, 4), ValueError, "vocab_size"),
        ((4, -1), ValueError, "num_hiddens"),
        ((4, 1.5), TypeError, "num_hiddens"),
        ((True, 4), TypeError, "vocab_size"),
    ],
)
def test_bad_sizes_name_the_argument(sizes, error, named):
    with pytest.raises(error, match=named):
        RNNScratch(*sizes)
