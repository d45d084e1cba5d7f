"""Chapter 10: the frame of a book is cut or refused, and the project's small functions hold."""

from itertools import islice

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from notebooks import definitions

from utils.batching import overlapping_windows

NAMES = ["cut_frame", "Windows", "endless", "words_of", "real_share", "longest_copied"]
BOOK = "title\n*** START ***\nI.\nWe fall.\n*** END ***\nlicence"


@pytest.fixture(scope="module")
def chapter():
    """Return the functions and classes that the chapter defines, without its experiments."""
    return definitions(10, *NAMES, known={"the", "sea"})


def test_the_frame_is_cut_off_at_both_ends(chapter):
    assert chapter.cut_frame(BOOK, "I.\n", "*** END") == "I.\nWe fall."


@pytest.mark.parametrize(
    ("start", "end", "name", "marker"),
    [
        ("Chapter 1", "*** END", "start", "Chapter 1"),
        ("I.\n", "End of the Project Gutenberg", "end", "End of the Project Gutenberg"),
        ("I.\n", "*** START", "end", "*** START"),  # stands before the start only
    ],
)
def test_a_missing_marker_is_named(chapter, start, end, name, marker):
    with pytest.raises(ValueError, match=rf"^{name} must") as caught:
        chapter.cut_frame(BOOK, start, end)
    assert repr(marker) in str(caught.value)


def test_the_dataset_and_the_index_hold_the_same_windows(chapter):
    ids = torch.randint(9, (50,))
    windows = chapter.Windows(ids, 6)
    assert len(windows) == 44
    stored = sorted((X.tolist(), Y.tolist()) for X, Y in (windows[i] for i in range(44)))
    batches = overlapping_windows(ids, 4, 6)
    fetched = sorted(pair for X, Y in batches for pair in zip(X.tolist(), Y.tolist(), strict=True))
    assert stored == fetched


def test_an_endless_stream_starts_a_new_pass_only_when_one_is_used_up(chapter):
    passes = []

    def make_batches():
        passes.append(len(passes))
        return iter("ab")

    stream = chapter.endless(make_batches)
    assert not passes
    assert list(islice(stream, 2)) == ["a", "b"] and len(passes) == 1
    assert list(islice(stream, 3)) == ["a", "b", "a"] and len(passes) == 3


def test_words_are_real_when_the_training_text_has_them(chapter):
    words = chapter.words_of("cu The sea, the tea! cut")
    assert words == ["the", "sea", "the", "tea"]
    assert chapter.real_share(words) == 0.75


@given(st.text("ab ", min_size=1, max_size=30), st.text("ab ", max_size=60))
def test_the_longest_copied_piece_against_all_pieces(chapter, written, source):
    pieces = (written[i:j] for i in range(len(written)) for j in range(i, len(written) + 1))
    longest = max(len(piece) for piece in pieces if piece in source)
    found = chapter.longest_copied(written, source)
    assert len(found) == longest and found in source and found in written
