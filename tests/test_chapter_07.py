"""Chapter 07: what the source books get wrong about the GRU, and what its gates can do."""

import pytest
import torch
from torch import nn

from utils import d2l
from utils.models import GRUScratch

NUM_INPUTS, NUM_HIDDENS = 28, 32  # the sizes of the source's comparison


def count(model):
    return sum(parameter.numel() for parameter in model.parameters())


@torch.no_grad()
def with_weights_of(layer, reset_after):
    """Return our GRU with the weights of an nn.GRU, in the same precision."""
    h = layer.hidden_size
    ours = GRUScratch(layer.input_size, h, reset_after).to(layer.weight_ih_l0.dtype)
    ours.W_x.copy_(layer.weight_ih_l0.T)
    ours.W_h.copy_(layer.weight_hh_l0.T)
    ours.b.copy_(layer.bias_ih_l0 + layer.bias_hh_l0)
    if reset_after:
        ours.b[2 * h :] = layer.bias_ih_l0[2 * h :]
        ours.b_hn.copy_(layer.bias_hh_l0[2 * h :])
    return ours


def gated(reset, update):
    """Return our GRU whose gates stay at 0 or 1, or are free where None."""
    torch.manual_seed(0)
    layer = GRUScratch(8, 16)
    for columns, value in zip(layer.b.data.chunk(3), (reset, update), strict=False):
        if value is not None:
            columns.fill_(40.0 if value else -40.0)
    return layer


def plain_rnn(layer):
    """Return the nn.RNN with the weights of the candidate."""
    rnn = nn.RNN(layer.input_size, layer.hidden_size)
    with torch.no_grad():
        rnn.weight_ih_l0.copy_(layer.W_x.chunk(3, dim=1)[2].T)
        rnn.weight_hh_l0.copy_(layer.W_h.chunk(3, dim=1)[2].T)
        rnn.bias_ih_l0.copy_(layer.b.chunk(3)[2])
        rnn.bias_hh_l0.zero_()
    return rnn


def by_the_book(weights, inputs, H):
    """Return the states of d2l's equations, reset before the product: one tensor for each name."""
    W_xr, W_xz, W_xh, W_hr, W_hz, W_hh, b_r, b_z, b_h = weights
    states = []
    for X in inputs:
        Z = torch.sigmoid(X @ W_xz + H @ W_hz + b_z)
        R = torch.sigmoid(X @ W_xr + H @ W_hr + b_r)
        H_tilde = torch.tanh(X @ W_xh + (R * H) @ W_hh + b_h)
        H = Z * H + (1 - Z) * H_tilde
        states.append(H)
    return torch.stack(states)


@pytest.mark.parametrize("number", range(5))
def test_the_two_reset_forms_differ_with_the_same_weights(number):
    torch.manual_seed(number)
    layer, inputs = nn.GRU(NUM_INPUTS, NUM_HIDDENS), torch.randn(10, 4, NUM_INPUTS)
    before, after = (
        (with_weights_of(layer, reset_after)(inputs)[0] - layer(inputs)[0]).abs().max().item()
        for reset_after in (False, True)
    )
    assert before > 0.02  # the source has 0.077
    assert after < 1e-6  # and 3e-8


def test_the_forms_agree_where_the_reset_gate_is_the_same_in_all_units():
    torch.manual_seed(0)
    layer, inputs = nn.GRU(8, 16).double(), torch.randn(10, 4, 8).double()
    with torch.no_grad():
        layer.weight_ih_l0[:16], layer.weight_hh_l0[:16] = 0, 0  # R is σ(0.5) everywhere
        layer.bias_ih_l0[:16], layer.bias_hh_l0[:16] = 0.5, 0
        layer.bias_hh_l0[32:] = 0
    ours = with_weights_of(layer, reset_after=False)
    torch.testing.assert_close(ours(inputs)[0], layer(inputs)[0], rtol=0, atol=1e-10)


def test_the_textbook_form_equals_the_books_equations_in_outputs_and_gradients():
    torch.manual_seed(0)
    ours, inputs = GRUScratch(8, 16).double(), torch.randn(20, 4, 8).double()
    start = torch.randn(1, 4, 16).double().requires_grad_()
    tensors = [ours.W_x, ours.W_h, ours.b]
    book = [part for tensor in tensors for part in tensor.chunk(3, dim=-1)]
    states, theirs = ours(inputs, start)[0], by_the_book(book, inputs, start[0])
    torch.testing.assert_close(states, theirs, rtol=0, atol=1e-10)
    loss_weights = torch.randn_like(states)
    mine, others = (
        torch.autograd.grad((s * loss_weights).sum(), [*tensors, start]) for s in (states, theirs)
    )
    for a, b in zip(mine, others, strict=True):
        torch.testing.assert_close(a, b, rtol=0, atol=1e-10)


def test_d2l_concise_gru_is_the_other_form():
    torch.manual_seed(0)
    book, inputs = d2l.GRU(NUM_INPUTS, NUM_HIDDENS, 1), torch.randn(10, 4, NUM_INPUTS)
    assert isinstance(book.rnn, nn.GRU)
    theirs, _ = book(inputs)
    after = with_weights_of(book.rnn, reset_after=True)(inputs)[0]
    before = with_weights_of(book.rnn, reset_after=False)(inputs)[0]
    assert (after - theirs).abs().max() < 1e-6 < 0.02 < (before - theirs).abs().max()


def test_one_bias_a_gate_against_two():
    one = count(GRUScratch(NUM_INPUTS, NUM_HIDDENS))
    needed = count(GRUScratch(NUM_INPUTS, NUM_HIDDENS, reset_after=True))
    two = count(nn.GRU(NUM_INPUTS, NUM_HIDDENS))
    assert (one, needed, two) == (5856, 5888, 5952)
    assert (one // 3, two // 3) == (1952, 1984)


def test_reset_gate_open_alone_is_not_a_plain_rnn():
    torch.manual_seed(1)
    inputs, start = torch.randn(50, 4, 8), torch.rand(1, 4, 16) * 2 - 1
    difference = {}
    for update in (0, None, 1):
        layer = gated(reset=1, update=update)
        states = layer(inputs, start)[0]
        difference[update] = (states - plain_rnn(layer)(inputs, start)[0]).abs().max().item()
    assert difference[0] < 1e-4
    assert difference[None] > 0.1
    assert difference[1] > 0.1


@pytest.mark.parametrize("reset", [0, None, 1])
def test_update_gate_at_one_keeps_the_state_to_the_bit(reset):
    torch.manual_seed(1)
    inputs, start = torch.randn(500, 4, 8), torch.rand(1, 4, 16) * 2 - 1
    _, last = gated(reset, update=1)(inputs, start)
    assert torch.equal(last, start)


def test_both_gates_at_zero_forget_the_state():
    torch.manual_seed(1)
    inputs = torch.randn(50, 4, 8)
    one, other = torch.rand(2, 1, 4, 16) * 2 - 1
    layer = gated(reset=0, update=0)
    assert torch.equal(layer(inputs, one)[0], layer(inputs, other)[0])
