"""Chapter 10: the frame of a book is cut or refused, and the project's small functions hold."""

from itertools import islice

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from notebooks import definitions
from torch import nn

from utils import datasets
from utils.batching import overlapping_windows, random_windows
from utils.models import LanguageModel

NAMES = ["cut_frame", "Windows", "endless", "in_one_call", "character_by_character", "words_of"]
NAMES += ["real_share", "longest_copied"]
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


@pytest.mark.skipif(not datasets.locate("mysterious_island"), reason="the book is not at hand")
def test_nothing_of_the_frame_is_left_of_the_real_book(chapter):
    text = datasets.load_text("mysterious_island").text
    span = text[text.find("THE MYSTERIOUS ISLAND") : text.find("End of the Project Gutenberg")]
    assert (len(span), len(set(span))) == (1_112_350, 80)
    book = chapter.cut_frame(text, "Chapter 1\n", "End of the Project Gutenberg")
    assert book.startswith("Chapter 1\n") and 1_100_000 < len(book) < len(span)
    assert "Produced by" in span[:200] and "Produced by" not in book
    assert "gutenberg" not in book.lower()
    newer = text.replace("End of the Project Gutenberg", "*** END OF THE PROJECT GUTENBERG")
    with pytest.raises(ValueError, match=r"^end must"):
        chapter.cut_frame(newer, "Chapter 1\n", "End of the Project Gutenberg")


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


def test_one_call_and_one_call_a_character_are_the_same_function(chapter):
    torch.manual_seed(0)
    model = LanguageModel(nn.LSTM(5, 7), 11).double()
    X, Y = next(iter(random_windows(torch.randint(11, (200,)), 4, 9)))
    losses = [chapter.in_one_call(model, X, Y), chapter.character_by_character(model, X, Y)]
    torch.testing.assert_close(losses[0], losses[1], rtol=0, atol=1e-12)
    one, other = (torch.autograd.grad(loss, list(model.parameters())) for loss in losses)
    for a, b in zip(one, other, strict=True):
        torch.testing.assert_close(a, b, rtol=0, atol=1e-12)


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
