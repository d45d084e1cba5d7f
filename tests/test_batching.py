"""Windows of a long text, fair and shifted by one; padded minibatches, in buckets."""

import gc
from collections import Counter

import pytest
import torch
from hypothesis import example, given
from hypothesis import strategies as st

from utils.batching import (
    bucket,
    overlapping_windows,
    pad,
    padding_share,
    random_windows,
    sequential_windows,
)

SAMPLERS = [random_windows, sequential_windows]
both = pytest.mark.parametrize("sampler", SAMPLERS)
every = pytest.mark.parametrize("sampler", [*SAMPLERS, overlapping_windows])


@st.composite
def texts(draw):
    """Return (ids, batch_size, num_steps), ids being 0, 1, 2, ..., so that each is its place."""
    batch_size, num_steps = draw(st.integers(1, 6)), draw(st.integers(1, 9))
    shortest = (batch_size + 1) * num_steps
    return torch.arange(shortest + draw(st.integers(0, 120))), batch_size, num_steps


def fix_offset(monkeypatch, offset):
    monkeypatch.setattr(torch, "randint", lambda high, size: torch.tensor(offset))


@every
@given(case=texts(), seed=st.integers(0, 2**32))
def test_windows_lie_side_by_side_or_begin_at_every_token(sampler, case, seed):
    """The text of P and Q is its own places; X and Y hold the ids of another text there."""
    places, batch_size, num_steps = case
    torch.manual_seed(seed)
    ids = torch.randint(5, places.shape)
    passes = []
    for text in (places, ids):
        torch.manual_seed(seed)
        passes.append(list(sampler(text, batch_size, num_steps)))
    for (P, Q), (X, Y) in zip(*passes, strict=True):
        assert P.shape == Q.shape == (batch_size, num_steps)
        assert X.dtype == Y.dtype == torch.long
        assert (P.diff(dim=1) == 1).all() and (Q == P + 1).all()
        assert X.equal(ids[P]) and Y.equal(ids[Q])
    starts = torch.cat([P[:, 0] for P, _ in passes[0]])
    assert len(starts.unique()) == len(starts), "each window comes at most once"
    if sampler is overlapping_windows:
        assert len(starts) == (len(ids) - num_steps) // batch_size * batch_size
        return
    (offset,) = (starts % num_steps).unique().tolist()  # one pass has one offset
    full = (len(ids) - 1 - offset) // (batch_size * num_steps)
    assert len(passes[0]) == full, "no more is left out than does not fill a minibatch"
    if sampler is sequential_windows:
        rows = torch.cat([P for P, _ in passes[0]], dim=1)
        assert rows.flatten().equal(torch.arange(rows[0, 0], rows[-1, -1] + 1)), "rows go on"


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


@pytest.mark.parametrize(
    ("sampler", "num_tokens", "stride"), [(random_windows, 56, 5), (overlapping_windows, 16, 1)]
)
def test_windows_come_first_and_are_left_out_at_random(sampler, num_tokens, stride, monkeypatch):
    """11 windows in minibatches of 2: each is left out, and comes first, in a pass of 11."""
    fix_offset(monkeypatch, 0)
    torch.manual_seed(8)
    firsts, left_out, passes = Counter(), Counter(), 1_100
    for _ in range(passes):
        windows = [X[:, 0] // stride for X, _ in sampler(torch.arange(num_tokens), 2, 5)]
        firsts[windows[0][0].item()] += 1
        left_out.update(set(range(11)) - set(torch.cat(windows).tolist()))
    for counts in (firsts, left_out):
        assert sorted(counts) == list(range(11)) and counts.total() == passes
        assert sum((count - 100) ** 2 / 100 for count in counts.values()) < 29.6  # 1 in 1,000


@every
@pytest.mark.parametrize("sizes", [(2, 5), (1, 1), (3, 1), (1, 4)])
def test_shortest_text_fills_one_minibatch_at_every_offset_and_one_token_less_does_not(
    sampler, sizes, monkeypatch
):
    batch_size, num_steps = sizes
    disjoint = (batch_size + 1) * num_steps
    shortest = batch_size + num_steps if sampler is overlapping_windows else disjoint
    for offset in range(num_steps):
        fix_offset(monkeypatch, offset)
        assert len(list(sampler(torch.arange(shortest), *sizes))) == 1
        with pytest.raises(ValueError, match=f"at least {shortest} tokens, got {shortest - 1}"):
            sampler(torch.arange(shortest - 1), *sizes)


def storages():
    """Return {address: bytes} of the memory of all living tensors."""
    tensors = [part for part in gc.get_objects() if type(part) is torch.Tensor]
    parts = [part.untyped_storage() for part in tensors if part.device.type == "cpu"]
    return {part.data_ptr(): part.nbytes() for part in parts}


def test_overlapping_windows_of_a_novel_hold_one_number_a_window():
    ids = torch.zeros(1_100_000, dtype=torch.long)
    before = storages()
    X, _ = next(minibatches := overlapping_windows(ids, 64, 100))
    held = [size for place, size in storages().items() if place not in before]
    assert X.shape == (64, 100) and minibatches
    assert sum(held) < 8 * len(ids) + 1_000_000  # all windows: 880 MB


def test_windows_and_padded_texts_are_where_the_ids_are():
    """The meta device stands in for a GPU: its tensors have a place and no numbers."""
    ids = torch.arange(60, device="meta")
    for cut in (sequential_windows, overlapping_windows):
        X, Y = next(cut(ids, 4, 5))
        assert X.device == Y.device == ids.device and X.shape == (4, 5)
    X, lengths = pad([ids[:2], ids[:3]])
    assert X.device == ids.device and lengths.tolist() == [2, 3]


# --- Texts of many lengths
LENGTHS = st.lists(st.integers(1, 30), min_size=1, max_size=60).map(torch.tensor)


@given(
    rows=st.lists(st.lists(st.integers(0, 2**40), min_size=1, max_size=9), min_size=1, max_size=6),
    value=st.integers(-(2**31), 2**31),
)
@example(rows=[[5], [6, 7, 8]], value=None)
def test_padding_can_be_undone(rows, value):
    sequences = [torch.tensor(row) for row in rows]
    X, lengths = pad(sequences) if value is None else pad(sequences, value)
    assert X.dtype == lengths.dtype == torch.long
    assert lengths.tolist() == [len(row) for row in rows]
    padding = [(value or 0,) * (max(map(len, rows)) - len(row)) for row in rows]
    assert X.tolist() == [[*row, *more] for row, more in zip(rows, padding, strict=True)]


@given(
    lengths=LENGTHS,
    batch_size=st.integers(1, 20),
    num_batches=st.integers(1, 8),
    share=st.floats(0.1, 1),
)
def test_buckets_deal_out_every_index_once(lengths, batch_size, num_batches, share):
    """And the share of padding equals a count of it, for a part of the minibatches, too."""
    kept = lengths.clone()
    batches = bucket(lengths, batch_size, num_batches)
    assert sorted(torch.cat(batches).tolist()) == list(range(len(lengths)))
    whole, rest = divmod(len(lengths), batch_size)
    expected = [batch_size] * whole + [rest] * (rest > 0)
    assert sorted(map(len, batches), reverse=True) == expected
    batches = batches[: max(1, int(share * len(batches)))]
    texts = [torch.ones(length, dtype=torch.long) for length in lengths]
    marks = torch.cat([pad([texts[i] for i in batch])[0].flatten() for batch in batches])
    padding = (marks == 0).double().mean().item()
    assert padding_share(lengths, batches) == pytest.approx(padding, abs=1e-12)
    assert torch.equal(lengths, kept)


def test_minibatches_of_a_bucket_are_neighbours_within_it():
    torch.manual_seed(9)
    lengths = torch.arange(1, 161)
    # Two numbers drawn from 160; the first two of four, or the last two; neighbours of all.
    for num_batches, expected in {1: 160 / 3, 2: 160 / 5, 80: 1}.items():
        spans = [lengths[pair].diff().abs() for pair in bucket(lengths, 2, num_batches)]
        assert torch.cat(spans).double().mean().item() == pytest.approx(expected, rel=0.2)


def test_minibatches_of_a_bucket_come_in_random_order():
    torch.manual_seed(11)
    lengths = torch.arange(1, 11)
    firsts = Counter(lengths[bucket(lengths, 2, 5)[0]].min().item() for _ in range(500))
    assert sorted(firsts) == [1, 3, 5, 7, 9] and max(firsts.values()) < 150


def test_buckets_are_drawn_at_random_ties_too():
    """Every other text is as likely in the minibatch of text 0, with and without buckets."""
    torch.manual_seed(10)
    for lengths, num_batches in ((torch.arange(1, 9), 1), (torch.full((8,), 5), 4)):
        mates = Counter()
        for _ in range(700):
            (batch,) = [batch for batch in bucket(lengths, 2, num_batches) if 0 in batch]
            mates.update(set(batch.tolist()) - {0})
        assert sorted(mates) == [1, 2, 3, 4, 5, 6, 7]
        chi_squared = sum((count - 100) ** 2 / 100 for count in mates.values())
        assert chi_squared < 22.5  # 6 degrees of freedom: 1 in 1,000
