"""Classifier: parity with packed sequences, padding that never matters, both directions."""

from functools import partial

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn
from torch.nn import functional as F
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence

from utils.batching import bucket, pad
from utils.models import (
    Classifier,
    GRUScratch,
    LSTMScratch,
    last_state,
    max_and_mean,
    reverse,
)

VOCAB_SIZE, NUM_INPUTS, NUM_HIDDENS = 11, 5, 4
TORCH = {"RNN": nn.RNN, "GRU": nn.GRU, "LSTM": nn.LSTM}
LAYERS = TORCH | {
    "RNN with relu": partial(nn.RNN, nonlinearity="relu"),
    "GRU, two layers": partial(nn.GRU, num_layers=2),
    "GRU, the paper's": GRUScratch,
    "GRU, reset after": partial(GRUScratch, reset_after=True),
    "LSTM from scratch": LSTMScratch,
}


def first_state(hiddens, lengths):
    return hiddens[0]


def mean_of_ends(hiddens, lengths):
    return (hiddens[0] + last_state(hiddens, lengths)) / 2


POOLS = {last_state: 1, max_and_mean: 2, first_state: 1, mean_of_ends: 1}

kinds = pytest.mark.parametrize("kind", LAYERS)
pools = pytest.mark.parametrize("pool", POOLS)
directions = pytest.mark.parametrize("num_directions", [1, 2])


def make(kind="LSTM", num_directions=2, pool=last_state, padding_idx=None):
    torch.manual_seed(0)
    layers = [LAYERS[kind](NUM_INPUTS, NUM_HIDDENS) for _ in range(num_directions)]
    output = nn.Linear(num_directions * POOLS[pool] * NUM_HIDDENS, 1)
    embedding = nn.Embedding(VOCAB_SIZE, NUM_INPUTS, padding_idx=padding_idx)
    return Classifier(embedding, layers, pool, output).double()


def some_texts(lengths=(3, 7, 1, 7, 4), low=0):
    torch.manual_seed(1)
    return [torch.randint(low, VOCAB_SIZE, (length,)) for length in lengths]


def close(actual, expected, atol=1e-10):
    torch.testing.assert_close(actual, expected, rtol=0, atol=atol)


def gradients(model, logits):
    """Return {name: gradient} of a loss that asks every text for something else."""
    model.zero_grad()
    F.binary_cross_entropy_with_logits(logits, torch.arange(len(logits)).double() % 2).backward()
    named = model.named_parameters()
    return {name: p.grad.clone() for name, p in named if p.grad is not None}


def all_close(actual, expected, atol=1e-10):
    assert actual.keys() == expected.keys()
    for name in actual:
        close(actual[name], expected[name], atol)


# --- Parity with torch.nn on packed sequences ------------------------------------------------


def packed(kind, model, num_layers=1):
    """Return torch's own layer with the weights of the model's layers, and their names in it."""
    num_directions = len(model.layers)
    theirs = TORCH[kind](
        NUM_INPUTS, NUM_HIDDENS, num_layers, bidirectional=num_directions == 2
    ).double()
    names = {}
    for direction, layer in enumerate(model.layers):
        for name, weight in layer.named_parameters():
            names[f"layers.{direction}.{name}"] = name + "_reverse" * direction
            with torch.no_grad():
                getattr(theirs, names[f"layers.{direction}.{name}"]).copy_(weight)
    return theirs, names


@directions
@pytest.mark.parametrize("pool", [last_state, max_and_mean])
@pytest.mark.parametrize("kind", TORCH)
def test_equals_torch_on_packed_sequences(kind, pool, num_directions):
    model = make(kind, num_directions, pool)
    theirs, names = packed(kind, model)
    X, lengths = pad(some_texts(), value=2)
    logits = model(X, lengths)
    ours = gradients(model, logits)

    model.zero_grad()
    embedded = model.embedding(X.T)
    sequence = pack_padded_sequence(embedded, lengths, enforce_sorted=False)
    outputs, state = theirs(sequence)
    if pool is last_state:
        H = state[0] if kind == "LSTM" else state
        features = torch.cat([*H], dim=1)  # (batch_size, num_directions * num_hiddens)
    else:
        outputs, _ = pad_packed_sequence(outputs)
        ways = outputs.chunk(num_directions, dim=2)
        rows = [
            torch.cat([f(way[:length, row]) for way in ways for f in (largest, mean)])
            for row, length in enumerate(lengths)
        ]
        features = torch.stack(rows)
    torch_logits = model.output(features)[:, 0]
    close(logits, torch_logits)
    expected = gradients(model, torch_logits)
    for name, name_there in names.items():
        expected[name] = getattr(theirs, name_there).grad
    all_close(ours, expected)


def largest(hiddens):
    return hiddens.max(dim=0).values


def mean(hiddens):
    return hiddens.mean(dim=0)


def test_deep_layers_equal_torch_on_packed_sequences():
    """Each direction is a stack of its own, unlike torch's, whose second layer reads both."""
    model = make("GRU, two layers", 1)
    X, lengths = pad(some_texts())
    theirs, _ = packed("GRU", model, num_layers=2)
    sequence = pack_padded_sequence(model.embedding(X.T), lengths, enforce_sorted=False)
    close(model(X, lengths), model.output(theirs(sequence)[1][-1])[:, 0])


@directions
@pools
@kinds
def test_equals_reading_each_text_alone(kind, pool, num_directions):
    """Without a minibatch there is no padding: logits and gradients are those of the loop."""
    model, texts = make(kind, num_directions, pool), some_texts()
    logits = model(*pad(texts))
    ours = gradients(model, logits)
    alone = []
    for text in texts:
        features = []
        for layer, reading in zip(model.layers, [text, text.flip(0)], strict=False):
            hiddens, _ = layer(model.embedding(reading)[:, None])
            features.append(pool(hiddens, torch.tensor([len(text)])))
        alone.append(model.output(torch.cat(features, dim=1)).squeeze())
    close(logits, torch.stack(alone))
    all_close(ours, gradients(model, torch.stack(alone)))


@directions
def test_shape_of_the_logits(num_directions):
    model = make(num_directions=num_directions)
    for texts in (some_texts(), some_texts([1]), some_texts([5, 5]), some_texts([1, 1])):
        logits = model(*pad(texts))
        assert logits.shape == (len(texts),) and logits.dtype == torch.float64


def test_parameters_as_counted_by_hand():
    counted = VOCAB_SIZE * NUM_INPUTS
    counted += 2 * 4 * NUM_HIDDENS * (NUM_INPUTS + NUM_HIDDENS + 2)
    counted += 2 * 2 * NUM_HIDDENS + 1
    assert sum(p.numel() for p in make(pool=max_and_mean).parameters()) == counted


def test_the_first_layer_reads_forwards_and_the_second_backwards(monkeypatch):
    """A change in the middle of a text reaches the states behind it, in reading order."""
    seen = []

    def keep(hiddens, lengths):
        seen.append(hiddens)
        return last_state(hiddens, lengths)

    monkeypatch.setitem(POOLS, keep, 1)
    model = make(pool=keep)
    X, lengths = torch.tensor([[1, 2, 3, 4, 5, 0]]), torch.tensor([5])
    model(X, lengths)
    other = X.clone()
    other[0, 1] = 6
    model(other, lengths)
    changed = [
        (a - b)[:5, 0].abs().amax(dim=1) > 1e-9 for a, b in zip(seen[:2], seen[2:], strict=True)
    ]
    assert changed[0].tolist() == [False, True, True, True, True]
    assert changed[1].tolist() == [False, False, False, True, True]


def test_one_layer_for_both_directions_is_allowed():
    layer = nn.GRU(NUM_INPUTS, NUM_HIDDENS)
    embedding, output = nn.Embedding(VOCAB_SIZE, NUM_INPUTS), nn.Linear(2 * NUM_HIDDENS, 1)
    model = Classifier(embedding, (layer, layer), last_state, output)
    palindrome = torch.tensor([1, 2, 3, 2, 1])
    (H,), lengths = model.embedding(palindrome)[None], torch.tensor([5])
    end = layer(H[:, None])[0][-1]
    close(model(palindrome[None], lengths), output(torch.cat([end, end], dim=1))[0], 1e-6)


@kinds
def test_learns_which_token_a_text_holds(kind):
    """The token stands anywhere; texts are padded, and come in buckets of like length."""
    model = make(kind, 2, max_and_mean).float()
    torch.manual_seed(2)
    lengths = torch.randint(1, 9, (120,))
    texts = [torch.randint(2, VOCAB_SIZE, (length,)) for length in lengths.tolist()]
    labels = torch.arange(120) % 2
    for text, label in zip(texts, labels, strict=True):
        if label:
            text[torch.randint(len(text), ())] = 1
    adam = torch.optim.Adam(model.parameters(), 0.02)
    for _ in range(14):
        for batch in bucket(lengths, 20, 3):
            adam.zero_grad()
            logits = model(*pad([texts[i] for i in batch]))
            F.binary_cross_entropy_with_logits(logits, labels[batch].float()).backward()
            adam.step()
    assert ((model(*pad(texts)) > 0) == labels).float().mean() > 0.9


# --- Padding never matters -------------------------------------------------------------------


@directions
@pools
@kinds
def test_more_padding_and_other_padding_change_nothing(kind, pool, num_directions):
    model = make(kind, num_directions, pool)
    X, lengths = pad(some_texts())
    logits = model(X, lengths)
    grads = gradients(model, logits)
    for value, more in ((0, 6), (3, 1), (VOCAB_SIZE - 1, 0)):
        padded, _ = pad([*some_texts(), torch.zeros(X.shape[1] + more).long()], value)
        padded = padded[:-1]
        assert padded.shape == (len(X), X.shape[1] + more)
        again = model(padded, lengths)
        close(again, logits, 1e-12)
        all_close(gradients(model, again), grads, 1e-12)


@settings(max_examples=40)
@given(
    lengths=st.lists(st.integers(1, 9), min_size=1, max_size=5),
    more=st.integers(0, 5),
    seed=st.integers(0, 2**32),
    pool=st.sampled_from([last_state, max_and_mean]),
)
def test_whatever_stands_in_the_padding(lengths, more, seed, pool):
    model, texts = make("GRU", 2, pool), some_texts(lengths)
    X, lengths = pad(texts)
    torch.manual_seed(seed)
    noise = torch.randint(VOCAB_SIZE, (len(X), X.shape[1] + more))
    for row, text in zip(noise, texts, strict=True):
        row[: len(text)] = text
    close(model(noise, lengths), model(X, lengths), 1e-12)


@directions
@pools
def test_the_order_of_the_texts_does_not_matter(pool, num_directions):
    model = make("LSTM", num_directions, pool)
    X, lengths = pad(some_texts())
    order = torch.tensor([4, 2, 0, 3, 1])
    close(model(X[order], lengths[order]), model(X, lengths)[order], 1e-12)


@directions
def test_a_text_does_not_depend_on_its_company(num_directions):
    model, texts = make("LSTM", num_directions), some_texts()
    logits = model(*pad(texts))
    for i, text in enumerate(texts):
        close(model(*pad([text])), logits[i : i + 1], 1e-12)


@directions
@pools
def test_every_token_of_a_text_matters_to_its_own_logit_alone(pool, num_directions):
    model = make("GRU", num_directions, pool)
    X, lengths = pad(some_texts())
    logits = model(X, lengths)
    for row, length in enumerate(lengths.tolist()):
        for step in range(length):
            seen = pool is not first_state or step in (0, length - 1)[:num_directions]
            other = X.clone()
            other[row, step] = (X[row, step] + 1) % VOCAB_SIZE
            changed = (model(other, lengths) - logits).abs() > 1e-12
            assert changed.tolist() == [seen and i == row for i in range(len(X))]


@kinds
def test_padding_gets_no_gradient(kind):
    """Not the row of padding_idx, and no other row that only stands in the padding."""
    for pool in (last_state, max_and_mean):
        for padding_idx in (0, None):
            model = make(kind, 2, pool, padding_idx)
            X, lengths = pad(some_texts(low=1), value=0)
            assert (X == 0).any()
            grad = gradients(model, model(X, lengths))["embedding.weight"]
            assert not grad[0].any()
            assert grad[X[X > 0]].any(dim=1).all()


def test_a_plain_bidirectional_layer_reads_the_padding_first():
    """d2l takes end states over the padding, without a mask: more padding is another logit."""
    torch.manual_seed(0)
    embedding, output = nn.Embedding(VOCAB_SIZE, NUM_INPUTS), nn.Linear(4 * NUM_HIDDENS, 1)
    theirs = nn.LSTM(NUM_INPUTS, NUM_HIDDENS, bidirectional=True)
    ours = [nn.LSTM(NUM_INPUTS, NUM_HIDDENS) for _ in range(2)]
    ours = Classifier(embedding, ours, max_and_mean, output)
    text, lengths = torch.tensor([[3, 1, 4]]), torch.tensor([3])
    book, course = [], []
    for num_padding in (0, 1, 5, 20):
        X = F.pad(text, (0, num_padding), value=0)
        hiddens, _ = theirs(embedding(X.T))
        book.append(output(torch.cat([hiddens[0], hiddens[-1]], dim=1)).item())
        course.append(ours(X, lengths).item())
    for logit in book[1:]:
        assert abs(logit - book[0]) > 1e-3
    assert course == pytest.approx([course[0]] * 4, abs=1e-6)


# --- reverse, last_state, max_and_mean -------------------------------------------------------


def test_reverse_turns_each_row_and_leaves_its_padding():
    X = torch.tensor([[1, 2, 3, 0], [4, 5, 6, 7], [8, 0, 0, 0], [1, 2, 9, 9]])
    expected = [[3, 2, 1, 0], [7, 6, 5, 4], [8, 0, 0, 0], [2, 1, 9, 9]]
    lengths = torch.tensor([3, 4, 1, 2])
    kept = X.clone()
    assert reverse(X, lengths).tolist() == expected
    assert torch.equal(X, kept)


@settings(max_examples=40)
@given(
    texts=st.lists(st.lists(st.integers(0, 9), min_size=1, max_size=9), min_size=1, max_size=6),
    value=st.integers(-1, 9),
)
def test_reverse_is_python_s_and_undoes_itself(texts, value):
    X, lengths = pad([torch.tensor(text) for text in texts], value)
    turned, _ = pad([torch.tensor(text[::-1]) for text in texts], value)
    assert torch.equal(reverse(X, lengths), turned)
    assert torch.equal(reverse(turned, lengths), X)


@settings(max_examples=40)
@given(lengths=st.lists(st.integers(1, 9), min_size=1, max_size=6), more=st.integers(0, 4))
def test_pools_equal_a_loop_over_texts(lengths, more):
    torch.manual_seed(3)
    hiddens = torch.randn(max(lengths) + more, len(lengths), NUM_HIDDENS, dtype=torch.float64)
    hiddens -= 10  # zeros of a mask would be the largest
    for row, length in enumerate(lengths):
        hiddens[length:, row] = 100  # and these the largest of the padding
    features = max_and_mean(hiddens, torch.tensor(lengths))
    ends = last_state(hiddens, torch.tensor(lengths))
    assert features.shape == (len(lengths), 2 * NUM_HIDDENS) and ends.shape == hiddens.shape[1:]
    for row, length in enumerate(lengths):
        text = hiddens[:length, row]
        assert torch.equal(ends[row], text[-1])
        assert torch.equal(features[row, :NUM_HIDDENS], largest(text))
        close(features[row, NUM_HIDDENS:], mean(text), 1e-12)


def test_pools_keep_the_gradient_out_of_the_padding():
    hiddens = torch.randn(5, 3, NUM_HIDDENS, dtype=torch.float64, requires_grad=True)
    lengths = torch.tensor([2, 5, 1])
    for pool in (last_state, max_and_mean):
        (grad,) = torch.autograd.grad(pool(hiddens, lengths).sum(), hiddens)
        assert grad.isfinite().all()
        for row, length in enumerate(lengths):
            assert not grad[length:, row].any() and grad[length - 1, row].any()
    by_hand = torch.zeros(5, NUM_HIDDENS, dtype=torch.float64) + 1 / 5
    by_hand[hiddens[:, 1].argmax(dim=0), range(NUM_HIDDENS)] += 1
    close(grad[:, 1], by_hand)


# --- bad input -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("layers", "error", "message"),
    [
        (nn.GRU(5, 4), TypeError, "layers must be a list of recurrent layers, got GRU"),
        (None, TypeError, "layers must be a list of recurrent layers, got NoneType"),
        ([], ValueError, "layers must be one or two, one for each direction, got 0"),
        ([nn.GRU(5, 4)] * 3, ValueError, "layers must be one or two, .*, got 3"),
        ([nn.Linear(5, 4)], TypeError, "layer must be a recurrent layer, got Linear"),
        ([nn.GRU(5, 4), None], TypeError, "layer must be a recurrent layer, got NoneType"),
        ([nn.GRU(5, 4), nn.GRU], TypeError, "layer must be a recurrent layer, got type"),
        ([nn.GRU(5, 4, batch_first=True)], ValueError, "layer must have batch_first=False"),
        ([nn.LSTM(5, 4, proj_size=2)], ValueError, "layer must have .*proj_size=0"),
        ([nn.GRU(5, 4, bidirectional=True)], ValueError, "layers must have bidirectional=False"),
        (
            [nn.GRU(5, 4), nn.GRU(5, 4, bidirectional=True)],
            ValueError,
            "layers must have bidirectional=False: give one for each direction",
        ),
    ],
)
def test_bad_layers_name_the_argument(layers, error, message):
    with pytest.raises(error, match=f"^{message}"):
        Classifier(nn.Embedding(11, 5), layers, last_state, nn.Linear(4, 1))


GOOD_X, GOOD_LENGTHS = torch.zeros(2, 3).long(), torch.tensor([3, 1])


@pytest.mark.parametrize(
    ("X", "lengths", "error", "message"),
    [
        ([[0, 1]], GOOD_LENGTHS, TypeError, "X must be a tensor of torch.int64, got list"),
        (None, GOOD_LENGTHS, TypeError, "X must be a tensor of torch.int64, got NoneType"),
        (GOOD_X.float(), GOOD_LENGTHS, TypeError, "X must be .*int64, got torch.float32"),
        (GOOD_X.int(), GOOD_LENGTHS, TypeError, "X must be .*int64, got torch.int32"),
        (GOOD_X[0], GOOD_LENGTHS, ValueError, r"X must have 2 dimension\(s\), got \(3,\)"),
        (GOOD_X[None], GOOD_LENGTHS, ValueError, r"X must have 2 dim.*, got \(1, 2, 3\)"),
        (GOOD_X[:0], GOOD_LENGTHS[:0], ValueError, r"X must have 2 dim.*, got \(0, 3\)"),
        (GOOD_X[:, :0], GOOD_LENGTHS, ValueError, r"X must have 2 dim.*, got \(2, 0\)"),
        (GOOD_X, [3, 1], TypeError, "lengths must be a tensor of torch.int64, got list"),
        (GOOD_X, None, TypeError, "lengths must be a tensor of torch.int64, got NoneType"),
        (GOOD_X, GOOD_LENGTHS.float(), TypeError, "lengths must be .* got torch.float32"),
        (GOOD_X, GOOD_LENGTHS.int(), TypeError, "lengths must be .* got torch.int32"),
        (GOOD_X, GOOD_LENGTHS[None], ValueError, r"lengths must have 1 dim.* got \(1, 2\)"),
        (GOOD_X, GOOD_LENGTHS[:0], ValueError, r"lengths must have 1 dim.* got \(0,\)"),
        (GOOD_X, torch.tensor(3), ValueError, r"lengths must have 1 dim.* got \(\)"),
        (GOOD_X, GOOD_LENGTHS[:1], ValueError, "2 numbers from 1 to 3, got 1 from 3 to 3"),
        (GOOD_X[:1], GOOD_LENGTHS, ValueError, "1 numbers from 1 to 3, got 2 from 1 to 3"),
        (GOOD_X, torch.tensor([3, 0]), ValueError, "2 numbers from 1 to 3, got 2 from 0 to 3"),
        (GOOD_X, torch.tensor([-1, 3]), ValueError, "2 numbers .* got 2 from -1 to 3"),
        (GOOD_X, torch.tensor([4, 1]), ValueError, "2 numbers .* got 2 from 1 to 4"),
    ],
)
@directions
def test_bad_texts_name_the_argument(X, lengths, error, message, num_directions):
    if message.startswith(("1 ", "2 ")):
        message = f"lengths must be {message}"
    with pytest.raises(error, match=f"^{message}$"):
        make(num_directions=num_directions)(X, lengths)


def test_shortest_and_longest_texts_are_read():
    for pool in (last_state, max_and_mean):
        logits = make(pool=pool)(torch.tensor([[0, VOCAB_SIZE - 1], [1, 0]]), torch.tensor([2, 1]))
        assert logits.isfinite().all()
