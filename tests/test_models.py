"""RNNScratch and LanguageModel: parity with PyTorch, shapes, state, look-ahead, bad input."""

import re
from functools import partial

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from utils import training
from utils.batching import sequential_windows
from utils.models import GRUScratch, LanguageModel, LSTMScratch, RNNScratch
from utils.sampling import generate, sampler
from utils.text import Vocab

VOCAB_SIZE, NUM_INPUTS, NUM_HIDDENS = 11, 5, 8
SIZES = [  # num_steps, batch_size, vocab_size, num_hiddens
    (20, 4, 28, 16),
    (1, 3, 5, 4),
    (6, 1, 5, 4),
    (6, 3, 2, 1),
    (1, 1, 1, 1),
]
TORCH_LAYERS = [
    (kind, num_layers, num_directions)
    for kind in ("RNN", "GRU", "LSTM")
    for num_layers in (1, 2)
    for num_directions in (1, 2)
]
SCRATCH_LAYERS = [
    ("GRU, the paper's", 1, 1),
    ("GRU, reset after", 1, 1),
    ("LSTM from scratch", 1, 1),
]
EVERY_LAYER = [*TORCH_LAYERS, ("RNN with relu", 1, 1), *SCRATCH_LAYERS]
ONE_WAY = [case for case in EVERY_LAYER if case[2] == 1]

sizes = pytest.mark.parametrize("sizes", SIZES, ids=str)
states = pytest.mark.parametrize("with_state", [False, True], ids=["from zeros", "from a state"])
every_layer = pytest.mark.parametrize("case", EVERY_LAYER, ids=str)
one_way = pytest.mark.parametrize("case", ONE_WAY, ids=str)


def make_layer(kind, num_layers, num_directions):
    sizes = NUM_INPUTS, NUM_HIDDENS
    if kind in ("RNN", "GRU", "LSTM"):
        return getattr(nn, kind)(*sizes, num_layers, bidirectional=num_directions == 2)
    return {
        "RNN with relu": lambda: nn.RNN(*sizes, nonlinearity="relu"),
        "GRU, the paper's": lambda: GRUScratch(*sizes),
        "GRU, reset after": lambda: GRUScratch(*sizes, reset_after=True),
        "LSTM from scratch": lambda: LSTMScratch(*sizes),
    }[kind]()


def make_model(case, vocab_size=VOCAB_SIZE):
    torch.manual_seed(0)
    return LanguageModel(make_layer(*case), vocab_size).double()


def make_state(case, batch_size):
    kind, num_layers, num_directions = case
    shape = num_layers * num_directions, batch_size, NUM_HIDDENS
    parts = 2 if kind.startswith("LSTM") else 1
    return tuple(torch.randn(shape, dtype=torch.float64) for _ in range(parts))


def close(actual, expected):
    torch.testing.assert_close(actual, expected, rtol=0, atol=1e-10)


# --- RNNScratch ------------------------------------------------------------------------------


def test_scratch_shapes():
    model = RNNScratch(28, 512)
    logits, state = model(torch.arange(10).reshape(2, 5))
    assert logits.shape == (5, 2, 28)
    assert logits.flatten(0, 1).shape == (10, 28)
    assert isinstance(state, tuple) and len(state) == 1 and state[0].shape == (2, 512)


def test_scratch_parameters_as_counted_by_hand():
    model = RNNScratch(28, 512)
    counted = 28 * 512 + 512 * 512 + 512 + 512 * 28 + 28
    assert sum(p.numel() for p in model.parameters()) == counted


def test_scratch_starts_small_and_with_biases_of_zero():
    torch.manual_seed(0)
    model = RNNScratch(28, 64, sigma=0.3)
    assert not model.b_h.any() and not model.b_q.any()
    for W in (model.W_xh, model.W_hh, model.W_hq):
        assert W.std().item() == pytest.approx(0.3, rel=0.1)
    assert RNNScratch(28, 64).W_hh.std().item() == pytest.approx(0.01, rel=0.1)


@states
@sizes
def test_scratch_equals_language_model_over_torch(sizes, with_state):
    """An embedding of unit vectors makes a token one-hot; outputs, states and gradients agree."""
    num_steps, batch_size, vocab_size, num_hiddens = sizes
    torch.manual_seed(0)
    ours = RNNScratch(vocab_size, num_hiddens, sigma=0.5).double()
    theirs = LanguageModel(nn.RNN(vocab_size, num_hiddens), vocab_size).double()
    with torch.no_grad():
        ours.b_h.normal_()
        ours.b_q.normal_()
        theirs.embedding.weight.copy_(torch.eye(vocab_size))
        theirs.layer.weight_ih_l0.copy_(ours.W_xh.T)
        theirs.layer.weight_hh_l0.copy_(ours.W_hh.T)
        theirs.layer.bias_hh_l0.normal_()
        theirs.layer.bias_ih_l0.copy_(ours.b_h - theirs.layer.bias_hh_l0)
        theirs.output.weight.copy_(ours.W_hq.T)
        theirs.output.bias.copy_(ours.b_q)
    X = torch.randint(vocab_size, (batch_size, num_steps))
    H = torch.randn(batch_size, num_hiddens, dtype=torch.float64, requires_grad=True)
    logits, (last,) = ours(X, (H,) if with_state else None)
    torch_logits, (torch_last,) = theirs(X, (H[None],) if with_state else None)
    close(logits, torch_logits)
    close(last[None], torch_last)

    W_xh, W_hh, b_h, _ = theirs.layer.parameters()
    wrt = [ours.W_xh, ours.W_hh, ours.b_h, ours.W_hq, ours.b_q]
    torch_wrt = [W_xh, W_hh, b_h, theirs.output.weight, theirs.output.bias]
    weights = [torch.randn_like(logits), torch.randn_like(last)]
    grads = torch.autograd.grad((logits, last), [*wrt, *[H] * with_state], weights)
    torch_grads = torch.autograd.grad(
        (torch_logits, torch_last[0]), [*torch_wrt, *[H] * with_state], weights
    )
    for a, b in zip(grads[:5], torch_grads[:5], strict=True):
        close(a, b.T if a.dim() == 2 else b)
    for a, b in zip(grads[5:], torch_grads[5:], strict=True):
        close(a, b)


def test_scratch_state_carries_the_past():
    torch.manual_seed(0)
    model = RNNScratch(VOCAB_SIZE, NUM_HIDDENS, sigma=0.3).double()
    X = torch.randint(VOCAB_SIZE, (2, 8))
    whole, (last,) = model(X)
    first, state = model(X[:, :3])
    second, (end,) = model(X[:, 3:], state)
    close(torch.cat((first, second)), whole)
    close(end, last)


@pytest.mark.parametrize("name", ["vocab_size", "num_hiddens"])
@pytest.mark.parametrize("size", [0, -1, 1.5, True, "4", None])
def test_scratch_bad_sizes_name_the_argument(name, size):
    expected = ValueError if type(size) is int else TypeError
    with pytest.raises(expected, match=f"{name} must be a positive integer, got {size!r}"):
        RNNScratch(**{"vocab_size": 4, "num_hiddens": 4, name: size})


# --- LanguageModel over every layer ----------------------------------------------------------


@every_layer
def test_shapes_of_logits_and_of_each_part_of_the_state(case):
    kind, num_layers, num_directions = case
    X = torch.randint(VOCAB_SIZE, (3, 7))
    logits, state = make_model(case)(X)
    assert logits.shape == (7, 3, VOCAB_SIZE)
    assert isinstance(state, tuple) and len(state) == (2 if kind.startswith("LSTM") else 1)
    for part in state:
        assert part.shape == (num_layers * num_directions, 3, NUM_HIDDENS)


@every_layer
def test_parameters_as_counted_by_hand(case):
    kind, num_layers, num_directions = case
    gates = {"R": 1, "G": 3, "L": 4}[kind[0]]
    biases = 1 if case in SCRATCH_LAYERS else 2
    counted = VOCAB_SIZE * NUM_INPUTS + (num_directions * NUM_HIDDENS + 1) * VOCAB_SIZE
    for layer in range(num_layers):
        num_inputs = NUM_INPUTS if layer == 0 else num_directions * NUM_HIDDENS
        one_gate = NUM_HIDDENS * (num_inputs + NUM_HIDDENS + biases)
        counted += num_directions * gates * one_gate
    if kind == "GRU, reset after":
        counted += NUM_HIDDENS
    assert sum(p.numel() for p in make_model(case).parameters()) == counted


@states
@every_layer
def test_equals_embedding_layer_and_linear_by_hand(case, with_state):
    model, state = make_model(case), make_state(case, batch_size=3)
    X = torch.randint(VOCAB_SIZE, (3, 7))
    incoming = state if with_state else tuple(map(torch.zeros_like, state))
    logits, last = model(X, state if with_state else None)
    inputs = F.one_hot(X.T, VOCAB_SIZE).double() @ model.embedding.weight
    hiddens, end = model.layer(inputs, incoming if len(state) == 2 else incoming[0])
    close(logits, hiddens @ model.output.weight.T + model.output.bias)
    for a, b in zip(last, end if len(state) == 2 else (end,), strict=True):
        close(a, b)


@pytest.mark.parametrize("nonlinearity", ["tanh", "relu"])
def test_plain_networks_by_their_formula(nonlinearity):
    torch.manual_seed(0)
    layer = nn.RNN(NUM_INPUTS, NUM_HIDDENS, nonlinearity=nonlinearity)
    model = LanguageModel(layer, VOCAB_SIZE).double()
    X, phi = torch.randint(VOCAB_SIZE, (3, 7)), getattr(torch, nonlinearity)
    logits, (last,) = model(X)
    H = torch.zeros(3, NUM_HIDDENS, dtype=torch.float64)
    W_xh, W_hh, b_x, b_h = layer.parameters()
    for t in range(7):
        H = phi(model.embedding.weight[X[:, t]] @ W_xh.T + H @ W_hh.T + b_x + b_h)
        close(logits[t], H @ model.output.weight.T + model.output.bias)
    close(last[0], H)


@pytest.mark.parametrize(
    ("ours", "reset_after", "theirs"),
    [(GRUScratch, {"reset_after": True}, nn.GRU), (LSTMScratch, {}, nn.LSTM)],
)
def test_scratch_layers_take_the_place_of_torchs(ours, reset_after, theirs):
    """Logits and states of two language models with the same weights."""
    torch.manual_seed(0)
    a = LanguageModel(ours(NUM_INPUTS, NUM_HIDDENS, **reset_after), VOCAB_SIZE).double()
    b = LanguageModel(theirs(NUM_INPUTS, NUM_HIDDENS), VOCAB_SIZE).double()
    with torch.no_grad():
        W_x, W_h, b_x, b_h = b.layer.parameters()
        b_h.zero_()
        W_x.copy_(a.layer.W_x.T)
        W_h.copy_(a.layer.W_h.T)
        b_x.copy_(a.layer.b)
        if reset_after:
            b_h[-NUM_HIDDENS:] = a.layer.b_hn
    b.embedding, b.output = a.embedding, a.output
    X, state = torch.randint(VOCAB_SIZE, (3, 7)), make_state((theirs.__name__, 1, 1), 3)
    for incoming in (None, state):
        (logits, last), (torch_logits, torch_last) = a(X, incoming), b(X, incoming)
        close(logits, torch_logits)
        assert len(last) == len(torch_last)
        for part, torch_part in zip(last, torch_last, strict=True):
            close(part, torch_part)


@one_way
def test_reading_in_two_pieces_equals_reading_whole(case):
    model, state = make_model(case), make_state(case, batch_size=2)
    X = torch.randint(VOCAB_SIZE, (2, 8))
    for start in (None, state):
        whole, last = model(X, start)
        first, middle = model(X[:, :3], start)
        second, end = model(X[:, 3:], middle)
        close(torch.cat((first, second)), whole)
        for a, b in zip(end, last, strict=True):
            close(a, b)


@every_layer
def test_only_a_bidirectional_layer_looks_ahead(case):
    model, t = make_model(case), 4
    X = torch.randint(VOCAB_SIZE, (1, 8))
    other = X.clone()
    other[0, t + 1] = (X[0, t + 1] + 1) % VOCAB_SIZE
    changed = (model(X)[0] - model(other)[0]).abs().amax(dim=(1, 2)) > 1e-12
    assert changed[t + 1 :].all()
    assert changed[: t + 1].all() if case[2] == 2 else not changed[: t + 1].any()


@every_layer
def test_state_of_every_layer_and_direction_matters(case):
    model, state = make_model(case), make_state(case, batch_size=2)
    X = torch.randint(VOCAB_SIZE, (2, 5))
    logits, _ = model(X, state)
    for part in state:
        for row in part:
            kept = row.clone()
            row += 1
            assert not torch.allclose(model(X, state)[0], logits)
            row.copy_(kept)


@every_layer
def test_learns_a_cycle_with_carried_state_and_evaluates(case):
    ids = torch.arange(5).repeat(30)
    model = make_model(case, vocab_size=5).float()
    before = training.evaluate(model, ids)
    batches = partial(sequential_windows, ids, 4, 10)
    adam = torch.optim.Adam(model.parameters(), 0.02)
    history = training.train(model, batches, 12, adam, carry_state=True)
    assert all(p.grad is not None and p.grad.any() for p in model.parameters())
    assert history.perplexities[-1] < history.perplexities[0]
    assert training.evaluate(model, ids) < 2 < 4 < before


@one_way
def test_evaluate_does_not_depend_on_its_windows(case):
    model, ids = make_model(case), torch.randint(VOCAB_SIZE, (60,))
    whole = training.evaluate(model, ids, num_steps=59)
    assert training.evaluate(model, ids, num_steps=7) == pytest.approx(whole, rel=1e-9)


@every_layer
def test_generates_with_every_layer(case):
    vocab = Vocab(list("abcd"))
    model = make_model(case, vocab_size=len(vocab))
    for pick in ({}, {"pick": sampler(top_k=3)}):
        text = generate(model, vocab, "abca", 6, **pick)
        assert text.startswith("abca") and len(text.replace("<unk>", "?")) == 4 + 6


@every_layer
def test_detach_cuts_every_part(case):
    _, state = make_model(case)(torch.randint(VOCAB_SIZE, (2, 5)))
    cut = training.detach(state)
    assert isinstance(cut, tuple) and len(cut) == len(state)
    for part, original in zip(cut, state, strict=True):
        assert original.requires_grad and not part.requires_grad
        assert torch.equal(part, original)


# --- dropout ---------------------------------------------------------------------------------


def test_dropout_acts_on_what_enters_and_what_leaves_the_layer_and_on_nothing_else():
    torch.manual_seed(0)
    model = LanguageModel(nn.GRU(NUM_INPUTS, NUM_HIDDENS, 2), VOCAB_SIZE, dropout=0.5)
    seen = []
    model.dropout.register_forward_hook(lambda _, args, out: seen.append((*args, out)))
    X = torch.randint(VOCAB_SIZE, (3, 7))
    _, (H,) = model(X)
    (embedded, inputs), (hiddens, kept) = seen
    assert torch.equal(embedded, model.embedding(X.T))
    states, last = model.layer(inputs)
    assert torch.equal(states, hiddens) and torch.equal(last, H), "the state is left whole"
    for before, after in seen:
        dropped = after == 0
        assert 0.2 < dropped.float().mean() < 0.8
        torch.testing.assert_close(after, torch.where(dropped, 0, 2 * before))
    assert kept.shape == (7, 3, NUM_HIDDENS)


def test_dropout_of_one_leaves_the_output_biases():
    model = LanguageModel(nn.LSTM(NUM_INPUTS, NUM_HIDDENS), VOCAB_SIZE, dropout=1.0)
    logits, _ = model(torch.randint(VOCAB_SIZE, (3, 7)))
    assert torch.equal(logits, model.output.bias.expand(7, 3, -1))


def test_without_dropout_both_modes_agree_and_with_it_evaluation_is_whole():
    plain, dropping = (
        LanguageModel(nn.GRU(NUM_INPUTS, NUM_HIDDENS), VOCAB_SIZE, **given)
        for given in ({}, {"dropout": 0.5})
    )
    dropping.load_state_dict(plain.state_dict())
    X = torch.randint(VOCAB_SIZE, (3, 7))
    logits = plain(X)[0]
    assert torch.equal(plain.eval()(X)[0], logits)
    assert not torch.equal(dropping(X)[0], logits)
    assert torch.equal(dropping.eval()(X)[0], logits)


@pytest.mark.parametrize("dropout", [-0.1, 1.1])
def test_bad_dropout_names_the_argument(dropout):
    with pytest.raises(ValueError, match=f"dropout .* between 0 and 1, but got {dropout}"):
        LanguageModel(nn.GRU(4, 4), 5, dropout=dropout)


# --- bad input -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("layer", "error", "message"),
    [
        (nn.Linear(4, 4), TypeError, "layer must be a recurrent layer, got Linear"),
        (nn.GRUCell(4, 4), TypeError, "layer must be a recurrent layer, got GRUCell"),
        (nn.GRU, TypeError, "layer must be a recurrent layer, got type"),
        (GRUScratch, TypeError, "layer must be a recurrent layer, got type"),
        (nn.EmbeddingBag(4, 4, mode="sum"), TypeError, "recurrent layer, got EmbeddingBag"),
        ("GRU", TypeError, "layer must be a recurrent layer, got str"),
        (None, TypeError, "layer must be a recurrent layer, got NoneType"),
        (RNNScratch(4, 4), TypeError, "layer must be a recurrent layer, got RNNScratch"),
        (nn.RNN(4, 4, batch_first=True), ValueError, "layer must have batch_first=False"),
        (nn.GRU(4, 4, batch_first=True), ValueError, "layer must have batch_first=False"),
        (nn.LSTM(4, 4, batch_first=True), ValueError, "layer must have batch_first=False"),
        (nn.LSTM(4, 4, proj_size=2), ValueError, "layer must have .*proj_size=0"),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, nn.Module) else None,
)
def test_bad_layer(layer, error, message):
    with pytest.raises(error, match=message):
        LanguageModel(layer, 5)


@pytest.mark.parametrize("size", [0, -1, 5.0, True, "5", None])
def test_bad_vocab_size_names_the_argument(size):
    expected = ValueError if type(size) is int else TypeError
    with pytest.raises(expected, match=f"vocab_size must be a positive integer, got {size!r}"):
        LanguageModel(nn.GRU(4, 4), size)


def make_scratch():
    return RNNScratch(VOCAB_SIZE, NUM_HIDDENS).double()


MODELS = {
    "RNNScratch": make_scratch,
    "RNN": partial(make_model, ("RNN", 1, 1)),
    "deep GRU": partial(make_model, ("GRU", 2, 2)),
    "LSTM": partial(make_model, ("LSTM", 1, 1)),
    "GRUScratch": partial(make_model, SCRATCH_LAYERS[0]),
    "LSTMScratch": partial(make_model, SCRATCH_LAYERS[2]),
}
models = pytest.mark.parametrize("name", MODELS)


def refuses(model, X, state, error, message):
    """Assert that the model raises this error, and that it is the same model afterwards."""
    before = {name: value.clone() for name, value in model.state_dict().items()}
    with pytest.raises(error, match=message):
        model(X, state)
    after = model.state_dict()
    assert before.keys() == after.keys()
    assert all(torch.equal(before[key], after[key]) for key in before)
    assert all(p.grad is None for p in model.parameters())


@models
@pytest.mark.parametrize(
    ("X", "error", "message"),
    [
        ([[0, 1]], TypeError, "X must be a tensor of torch.int64, got list"),
        (None, TypeError, "X must be a tensor of torch.int64, got NoneType"),
        (torch.zeros(2, 3), TypeError, "X must be a tensor of torch.int64, got torch.float32"),
        (torch.zeros(2, 3).int(), TypeError, "X must be .* torch.int64, got torch.int32"),
        (torch.zeros(2, 3).bool(), TypeError, "X must be .* torch.int64, got torch.bool"),
        (torch.arange(3), ValueError, r"X must have shape \(batch_size, num_steps\), got \(3,\)"),
        (torch.tensor(3), ValueError, r"X must have shape .* got \(\)"),
        (torch.zeros(1, 2, 3).long(), ValueError, r"X must have shape .* got \(1, 2, 3\)"),
        (torch.zeros(2, 0).long(), ValueError, r"X must have shape .* got \(2, 0\)"),
        (torch.zeros(0, 3).long(), ValueError, r"X must have shape .* got \(0, 3\)"),
        (torch.tensor([[0, 11]]), ValueError, "X must hold ids from 0 to 10, got 0 to 11"),
        (torch.tensor([[10, -1]]), ValueError, "X must hold ids from 0 to 10, got -1 to 10"),
    ],
)
def test_bad_ids_name_the_argument(name, X, error, message):
    refuses(MODELS[name](), X, None, error, message)


@models
def test_smallest_and_largest_id_are_read(name):
    logits, _ = MODELS[name]()(torch.tensor([[0, VOCAB_SIZE - 1]]))
    assert logits.isfinite().all()


X = torch.zeros(2, 3, dtype=torch.long)


def bad_states(good):
    """Yield (state, error, message), each a way to spoil the state of a model for two rows."""
    part, num_parts = good[0], len(good)
    rest = good[1:]
    shape = tuple(part.shape)
    yield part, TypeError, "state must be None or a tuple of tensors, got Tensor"
    yield list(good), TypeError, "state must be None or a tuple of tensors, got list"
    yield 0, TypeError, "state must be None or a tuple of tensors, got int"
    yield (None, *rest), TypeError, "state must be made of tensors, got NoneType"
    yield (*rest, part.tolist()), TypeError, "state must be made of tensors, got list"
    yield (good, *rest), TypeError, "state must be made of tensors, got tuple"
    yield (), ValueError, rf"state must have {num_parts} part\(s\), got 0"
    yield (part,) * (num_parts + 1), ValueError, rf"{num_parts} part\(s\), got {num_parts + 1}"
    yield (part.float(), *rest), TypeError, "state must be torch.float64, got torch.float32"
    yield (*rest, part.long()), TypeError, "state must be torch.float64, got torch.int64"
    one_row, three_rows = part[..., :1, :], torch.cat((part, part[..., :1, :]), dim=-2)
    for wrong in (one_row, three_rows, part[..., :-1], part[None], part[..., 0], part[..., :0, :]):
        message = f"state must have parts of shape {shape}, got {tuple(wrong.shape)}"
        message = re.escape(message)
        yield (wrong, *rest), ValueError, message
        yield (*rest, wrong), ValueError, message


@models
def test_bad_states_name_the_argument(name):
    model = MODELS[name]()
    _, good = model(X)
    for state, error, message in bad_states(training.detach(good)):
        refuses(model, X, state, error, message)


def test_a_state_of_the_other_model_does_not_fit():
    scratch, deep = make_scratch(), MODELS["RNN"]()
    (H,), (H_deep,) = scratch(X)[1], deep(X)[1]
    message = r"parts of shape \(2, 8\), got \(1, 2, 8\)"
    refuses(scratch, X, (H_deep,), ValueError, message)
    message = r"parts of shape \(1, 2, 8\), got \(2, 8\)"
    refuses(deep, X, (H,), ValueError, message)


def test_an_lstm_without_its_cell_is_refused_and_a_gru_with_one():
    lstm, gru = MODELS["LSTM"](), partial(make_model, ("GRU", 1, 1))()
    H = torch.zeros(1, 2, NUM_HIDDENS, dtype=torch.float64)
    refuses(lstm, X, (H,), ValueError, r"state must have 2 part\(s\), got 1")
    refuses(gru, X, (H, H), ValueError, r"state must have 1 part\(s\), got 2")
