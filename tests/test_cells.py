"""The cells that are written out: parity with PyTorch and the paper, gates at their extremes."""

from functools import partial

import pytest
import torch
from torch import nn

from utils.models import GRUScratch, LanguageModel, LSTMScratch, RNNScratch

EXTREME = 1e4  # a gate's bias: σ(1e4) is 1 and σ(−1e4) is 0 to the last bit
SIZES = [  # num_steps, batch_size, num_inputs, num_hiddens
    (20, 4, 7, 16),
    (1, 3, 5, 4),
    (6, 1, 5, 1),
    (1, 1, 1, 1),
]
CELLS = {  # how it is made, and the number of its parameters with 28 inputs and 64 units
    "GRU, the paper's": (GRUScratch, 3 * (64 * (28 + 64) + 64)),
    "GRU, reset after": (
        lambda *sizes: GRUScratch(*sizes, reset_after=True),
        3 * (64 * (28 + 64) + 64) + 64,
    ),
    "LSTM": (LSTMScratch, 4 * (64 * (28 + 64) + 64)),
}
sizes = pytest.mark.parametrize("sizes", SIZES, ids=str)
states = pytest.mark.parametrize("with_state", [False, True], ids=["from zeros", "from a state"])
close = partial(torch.testing.assert_close, rtol=0, atol=1e-10)


def build(make, *args, **kwargs):
    """Return a seeded cell in double precision, its parameters large enough to matter."""
    torch.manual_seed(0)
    cell = make(*args, **kwargs).double()
    with torch.no_grad():
        for parameter in cell.parameters():
            parameter.normal_(std=0.7)
    return cell


def draw(*shape):
    return torch.randn(shape, dtype=torch.float64, requires_grad=True)


def as_tuple(state):
    return state if isinstance(state, tuple) else (state,)


def compare(ours, theirs, pairs):
    """Compare (states, last parts), then the gradients of one loss that all of them enter.

    pairs: (our tensor, its counterpart). PyTorch stores our matrices transposed; our bias of N's
    state is the end of a longer one.
    """
    ours, theirs = ([hiddens, *as_tuple(last)] for hiddens, last in (ours, theirs))
    weights = [torch.randn_like(part) for part in ours]
    for a, b in zip(ours, theirs, strict=True):
        close(a, b)
    grads = torch.autograd.grad(ours, [one for one, _ in pairs], weights)
    torch_grads = torch.autograd.grad(theirs, [other for _, other in pairs], weights)
    for (one, other), a, b in zip(pairs, grads, torch_grads, strict=True):
        transposed = a.dim() == 2 and one is not other
        close(a, b.T if transposed else b[-len(a) :])


def torch_twin(cell):
    """Return nn.GRU or nn.LSTM with the cell's weights, and pairs of their parameters.

    Our one bias is the sum of PyTorch's two; it is split at random.
    """
    size, is_lstm = cell.hidden_size, isinstance(cell, LSTMScratch)
    twin = (nn.LSTM if is_lstm else nn.GRU)(cell.input_size, size).double()
    W_x, W_h, b_x, b_h = twin.parameters()
    pairs = [(cell.W_x, W_x), (cell.W_h, W_h), (cell.b, b_x)]
    with torch.no_grad():
        W_x.copy_(cell.W_x.T)
        W_h.copy_(cell.W_h.T)
        b_h.normal_()
        b_x.copy_(cell.b - b_h)
        if not is_lstm:
            b_h[-size:] = cell.b_hn
            b_x[-size:] = cell.b[-size:]
            pairs.append((cell.b_hn, b_h))
    return twin, pairs


def paper_gru(inputs, H, weights):
    """Return states and last state by the equations, one gate after another, with 1 − Z on N."""

    def sigma(x):
        return 1 / (1 + torch.exp(-x))

    W_xr, W_xz, W_xn, W_hr, W_hz, W_hn, b_r, b_z, b_n = weights
    states = []
    for X in inputs:
        R = sigma(X @ W_xr + H @ W_hr + b_r)
        Z = sigma(X @ W_xz + H @ W_hz + b_z)
        N = torch.tanh(X @ W_xn + (R * H) @ W_hn + b_n)
        H = Z * H + (1 - Z) * N
        states.append(H)
    return torch.stack(states), H[None]


# --- parity
@states
@sizes
def test_rnn_equals_language_model_over_torch(sizes, with_state):
    """An embedding of unit vectors makes a token one-hot."""
    num_steps, batch_size, vocab_size, num_hiddens = sizes
    ours = build(RNNScratch, vocab_size, num_hiddens)
    theirs = LanguageModel(nn.RNN(vocab_size, num_hiddens), vocab_size).double()
    W_xh, W_hh, b_ih, b_hh = theirs.layer.parameters()
    pairs = [(ours.W_xh, W_xh), (ours.W_hh, W_hh), (ours.W_hq, theirs.output.weight)]
    with torch.no_grad():
        theirs.embedding.weight.copy_(torch.eye(vocab_size))
        for one, other in pairs:
            other.copy_(one.T)
        b_ih.copy_(ours.b_h - b_hh)
        theirs.output.bias.copy_(ours.b_q)
    X, H = torch.randint(vocab_size, (batch_size, num_steps)), draw(batch_size, num_hiddens)
    pairs += [(ours.b_h, b_ih), (ours.b_q, theirs.output.bias), *[(H, H)] * with_state]
    logits, last = theirs(X, H[None] if with_state else None)
    compare(ours(X, H if with_state else None), (logits, last[0]), pairs)


@states
@sizes
@pytest.mark.parametrize("name", ["GRU, reset after", "LSTM"])
def test_layer_equals_torch(name, sizes, with_state):
    num_steps, batch_size, num_inputs, num_hiddens = sizes
    cell = build(CELLS[name][0], num_inputs, num_hiddens)
    twin, pairs = torch_twin(cell)
    X = draw(num_steps, batch_size, num_inputs)
    parts = tuple(draw(1, batch_size, num_hiddens) for _ in ("HC" if name == "LSTM" else "H"))
    state = (parts if name == "LSTM" else parts[0]) if with_state else None
    pairs += [(part, part) for part in (X, *parts[: len(parts) * with_state])]
    compare(cell(X, state), twin(X, state), pairs)


@states
@sizes
def test_gru_equals_the_paper_gate_by_gate(sizes, with_state):
    num_steps, batch_size, num_inputs, num_hiddens = sizes
    cell = build(GRUScratch, num_inputs, num_hiddens)
    X, H = draw(num_steps, batch_size, num_inputs), draw(1, batch_size, num_hiddens)
    columns = [slice(gate * num_hiddens, (gate + 1) * num_hiddens) for gate in range(3)]
    weights = [W[..., gate] for W in (cell.W_x, cell.W_h, cell.b) for gate in columns]
    wrt = [*cell.parameters(), X, *[H] * with_state]
    theirs = paper_gru(X, H[0] if with_state else torch.zeros_like(H[0]), weights)
    compare(cell(X, H if with_state else None), theirs, [(part, part) for part in wrt])


def test_a_cell_that_keeps_all_returns_its_state_to_the_bit_and_an_lstm_adds_up():
    for reset_after in (False, True):
        cell, H = build(GRUScratch, 5, 4, reset_after=reset_after), draw(1, 3, 4)
        cell.b.data[4:8] = EXTREME  # of Z
        hiddens, _ = cell(draw(200, 3, 5), H)
        assert torch.equal(hiddens, H.expand(200, 3, 4))
    cell = build(LSTMScratch, 5, 4)
    cell.b.data[:8] = torch.tensor([-EXTREME] * 4 + [EXTREME] * 4)  # of I and F
    H, C = draw(1, 3, 4), draw(1, 3, 4) * 10
    _, (_, last) = cell(draw(200, 3, 5), (H, C))
    assert torch.equal(last, C)
    cell.b.data[:12] = EXTREME  # of G, too
    _, (_, last) = cell(draw(50, 3, 5))
    assert torch.equal(last, torch.full_like(C, 50))


def test_rnn_starts_small_and_with_biases_of_zero():
    torch.manual_seed(0)
    model = RNNScratch(28, 64, sigma=0.3)
    assert not model.b_h.any() and not model.b_q.any()
    for W in (model.W_xh, model.W_hh, model.W_hq):
        assert W.std().item() == pytest.approx(0.3, rel=0.1)
    assert RNNScratch(28, 64).W_hh.std().item() == pytest.approx(0.01, rel=0.1)


@pytest.mark.parametrize(("make", "counted"), CELLS.values(), ids=CELLS.keys())
def test_parameters_as_counted_by_hand(make, counted):
    torch.manual_seed(0)
    cell = make(28, 64)
    assert sum(p.numel() for p in cell.parameters()) == counted
    for parameter in cell.parameters():  # U(−1/8, 1/8), as 1/√64 = 1/8
        assert parameter.abs().max().item() <= 1 / 8
        assert parameter.std().item() == pytest.approx(1 / 8 / 3**0.5, rel=0.25)
    hiddens, last = cell(torch.randn(3, 2, 28))
    assert {part.dtype for part in (hiddens, *as_tuple(last))} == {torch.float32}
