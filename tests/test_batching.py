"""Windows of a long text: disjoint, shifted by one, moved by a fair offset; and d2l's own."""

import random
from collections import Counter

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from utils import d2l
from utils.batching import random_windows, sequential_windows
from utils.text import normalize

SAMPLERS = [random_windows, sequential_windows]
both = pytest.mark.parametrize("sampler", SAMPLERS)


@st.composite
def texts(draw):
    """Return (ids, batch_size, num_steps), ids being 0, 1, 2, ..., so that each is its place."""
    batch_size, num_steps = draw(st.integers(1, 6)), draw(st.integers(1, 9))
    shortest = (batch_size + 1) * num_steps
    return torch.arange(shortest + draw(st.integers(0, 120))), batch_size, num_steps


def fix_offset(monkeypatch, offset):
    monkeypatch.setattr(torch, "randint", lambda high, size: torch.tensor(offset))


@both
@given(case=texts(), seed=st.integers(0, 2**32))
def test_each_token_at_most_once_and_Y_is_X_shifted(sampler, case, seed):
    ids, batch_size, num_steps = case
    torch.manual_seed(seed)
    minibatches = list(sampler(ids, batch_size, num_steps))
    assert minibatches
    for X, Y in minibatches:
        assert X.shape == Y.shape == (batch_size, num_steps)
        assert X.dtype == Y.dtype == torch.long
        assert (Y == X + 1).all()
    read = torch.cat([X for X, _ in minibatches]).flatten()
    assert len(read.unique()) == len(read)
    assert len(read) > len(ids) - 1 - num_steps - batch_size * num_steps


@both
@given(case=texts(), seed=st.integers(0, 2**32))
def test_offset_lies_in_its_range(sampler, case, seed):
    ids, batch_size, num_steps = case
    torch.manual_seed(seed)
    starts = {row[0] for X, _ in sampler(ids, batch_size, num_steps) for row in X.tolist()}
    offsets = {start % num_steps for start in starts}
    assert len(offsets) == 1, "one pass has one offset"
    if sampler is sequential_windows:
        assert min(starts) in range(num_steps)


@given(case=texts(), seed=st.integers(0, 2**32))
def test_sequential_rows_go_on(case, seed):
    ids, batch_size, num_steps = case
    torch.manual_seed(seed)
    rows = torch.cat([X for X, _ in sequential_windows(ids, batch_size, num_steps)], dim=1)
    assert (rows.diff(dim=1) == 1).all()
    assert (rows[1:, 0] == rows[:-1, -1] + 1).all(), "the rows cover one stretch of the text"


@both
def test_offsets_are_uniform_first_and_last_included(sampler):
    torch.manual_seed(1)
    ids, num_steps, passes = torch.arange(35), 5, 4_000
    firsts = Counter(
        min(X.min().item() for X, _ in sampler(ids, 2, num_steps)) for _ in range(passes)
    )
    assert sorted(firsts) == [0, 1, 2, 3, 4], "0 and num_steps - 1 come, num_steps never"
    expected = passes / num_steps
    chi_squared = sum((firsts[offset] - expected) ** 2 / expected for offset in range(num_steps))
    assert chi_squared < 18.5  # 4 degrees of freedom: 1 in 1,000


@both
@pytest.mark.parametrize("offset", [0, 4])
def test_first_and_last_offset(sampler, offset, monkeypatch):
    fix_offset(monkeypatch, offset)
    minibatches = list(sampler(torch.arange(35), 2, 5))
    assert len(minibatches) == 3
    assert min(X.min() for X, _ in minibatches) == offset
    assert max(Y.max() for _, Y in minibatches) == offset + 30


@both
def test_shortest_text_fills_one_minibatch_at_every_offset(sampler, monkeypatch):
    for offset in range(5):
        fix_offset(monkeypatch, offset)
        assert len(list(sampler(torch.arange(15), 2, 5))) == 1


@both
def test_last_token_is_an_answer_once_in_a_while(sampler):
    torch.manual_seed(2)
    answers = {Y.max().item() for _ in range(100) for _, Y in sampler(torch.arange(35), 2, 5)}
    assert max(answers) == 34


def test_random_windows_come_in_another_order_each_pass():
    torch.manual_seed(3)
    orders = {tuple(X[0, 0].item() for X, _ in random_windows(torch.arange(350), 2, 5))}
    orders |= {tuple(X[0, 0].item() for X, _ in random_windows(torch.arange(350), 2, 5))}
    assert len(orders) == 2


@both
def test_one_seed_one_pass(sampler):
    passes = []
    for _ in range(2):
        torch.manual_seed(4)
        passes.append(torch.stack([X for X, _ in sampler(torch.arange(100), 3, 4)]))
    assert passes[0].equal(passes[1])


@both
@pytest.mark.parametrize("num_tokens", [0, 1, 4, 14])
def test_text_too_short(sampler, num_tokens):
    with pytest.raises(
        ValueError, match=rf"ids must hold at least .* = 15 tokens, got {num_tokens}"
    ):
        sampler(torch.arange(num_tokens), 2, 5)


@both
@pytest.mark.parametrize("name", ["batch_size", "num_steps"])
@pytest.mark.parametrize("size", [0, -1, True, 2.0, "2", None])
def test_bad_sizes_raise_when_called(sampler, name, size):
    sizes = {"batch_size": 2, "num_steps": 5, name: size}
    expected = ValueError if type(size) is int else TypeError
    with pytest.raises(expected, match=f"{name} must be a positive integer, got {size!r}"):
        sampler(torch.arange(100), **sizes)


@both
def test_bad_ids_raise_when_called(sampler):
    with pytest.raises(TypeError, match="ids must be a tensor, got list"):
        sampler(list(range(100)), 2, 5)
    with pytest.raises(ValueError, match=r"ids must be one-dimensional, got shape \(10, 10\)"):
        sampler(torch.arange(100).reshape(10, 10), 2, 5)


# What the books get wrong


def test_d2l_0_draws_one_offset_too_many():
    """random.randint includes its upper end: in both samplers of 0.15, in the sequential of 0.17.

    Offset num_steps cuts the text where offset 0 does, and throws the first window away.
    """
    random.seed(5)
    offsets = Counter(random.randint(0, 5) for _ in range(6_000))
    starts = {offset: set(range(offset, 35 - 5, 5)) for offset in offsets}
    assert max(offsets) == 5 and starts[5] == starts[0] - {0}
    cuts = Counter(offset % 5 for offset in offsets.elements())
    assert cuts[0] == pytest.approx(2 * cuts[1], rel=0.1)


def test_a_sampler_without_offset_knows_few_windows():
    """Dive-into-DL-PyTorch cuts at 0, num_steps, 2 num_steps, ... in every pass."""
    torch.manual_seed(6)
    without = set(range(0, 30, 5))
    ours = {
        row[0]
        for _ in range(200)
        for X, _ in random_windows(torch.arange(35), 2, 5)
        for row in X.tolist()
    }
    assert len(without) == 6 and ours == set(range(30))


@pytest.fixture(scope="module")
def d2l_data():
    """Return d2l's own TimeMachine, fed with a text in place of its download."""

    class LocalTimeMachine(d2l.TimeMachine):
        def _download(self):
            return " ".join(f"{word:b}" for word in range(4_000)).translate({48: "a", 49: "b"})

    return LocalTimeMachine(batch_size=64, num_steps=32)


def test_d2l_1_windows_overlap(d2l_data):
    assert d2l_data.X[1, :-1].equal(d2l_data.X[0, 1:])
    num_windows = sum(len(X) for X, _ in d2l_data.train_dataloader())
    assert num_windows == 10_000 and num_windows * 32 > 30 * (10_000 + 32)


def test_d2l_1_validation_begins_inside_the_training_text(d2l_data):
    text = normalize(d2l_data._download())
    ids = torch.tensor([d2l_data.vocab[char] for char in text])
    assert d2l_data.X[9_999].equal(ids[9_999 : 9_999 + 32])
    assert d2l_data.X[10_000].equal(ids[10_000 : 10_000 + 32])
    train = set(range(9_999 + 32 + 1))
    validation = set(range(10_000, 15_000 + 32))
    assert len(train & validation) == d2l_data.num_steps
