"""Chapter 10: the frame of a book is cut or refused, and what writes and judges does so rightly."""

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from notebooks import definitions
from torch.nn.functional import cross_entropy

from utils.ngrams import NGramModel
from utils.sampling import probabilities
from utils.text import Vocab
from utils.training import evaluate

NAMES = ["cut_frame", "words_of", "real_share", "longest_copied", "CharLSTM", "Writer", "nats"]
NAMES += ["foreseen", "losses_by_place", "count_by_place", "quoted", "since"]
NAMES += ["place_in_line", "place_in_sentence", "choices"]
BOOK = "title\n*** START ***\nI.\nWe fall.\n*** END ***\nlicence"
IDS = torch.randint(5, (200,), generator=torch.Generator().manual_seed(0))


@pytest.fixture(scope="module")
def chapter():
    found = definitions(10, *NAMES, known={"the", "sea"}, vocab=Vocab(list("ab \n")))
    torch.manual_seed(0)
    found.writer = found.Writer(Vocab(list("abcd")), 3, 4).cpu()
    return found


def test_the_frame_is_cut_off_at_both_ends_or_the_missing_marker_is_named(chapter):
    assert chapter.cut_frame(BOOK, "I.\n", "*** END") == "I.\nWe fall."
    for start, end, name in [("Chapter 1", "*** END", "start"), ("I.\n", "*** START", "end")]:
        with pytest.raises(ValueError, match=f"^{name} must"):
            chapter.cut_frame(BOOK, start, end)


@pytest.mark.parametrize("settings", [{}, {"top_k": 2}, {"top_p": 0.4}, {"top_k": 3, "top_p": 0.7}])
def test_the_pen_draws_what_the_settings_of_chapter_05_leave(chapter, settings):
    expected = probabilities(chapter.writer(torch.tensor([[1]]))[0][-1, 0], 0.5, **settings)
    drawn = [chapter.writer.sample("a", 1, temperature=0.5, **settings)[1:] for _ in range(400)]
    share = torch.tensor([drawn.count(token) / 400 for token in chapter.writer.vocab])
    assert (share - expected).abs().max() < 0.1 and not share[expected == 0].any()


def test_a_network_is_judged_as_elsewhere(chapter):
    found = chapter.nats(chapter.foreseen(chapter.writer, IDS, num_rows=1))
    assert found == pytest.approx(math.log(evaluate(chapter.writer, IDS)), abs=1e-5)


def test_every_place_in_the_window_is_judged_on_the_same_characters(chapter):
    counts, targets = NGramModel(5, 5).fit(IDS.tolist()), range(6, 195)
    by_network = chapter.losses_by_place(chapter.writer, IDS, 6).mean(dim=1)
    by_counts = chapter.count_by_place(counts, IDS, 6)
    for k in (1, 4, 6):
        pasts = [IDS[t - k : t] for t in targets]
        losses = cross_entropy(chapter.writer(torch.stack(pasts))[0][-1], IDS[6:195])
        assert by_network[k - 1].item() == pytest.approx(losses.item(), abs=1e-5)
        p = map(counts.probability, IDS[6:195].tolist(), (past.tolist() for past in pasts))
        assert by_counts[k - 1].item() == pytest.approx(-sum(map(math.log, p)) / 189, abs=1e-5)


def test_words_and_labels(chapter):
    words = chapter.words_of("cu The sea, the tea! cut")
    assert words == ["the", "sea", "the", "tea"] and chapter.real_share(words) == 0.75
    assert chapter.quoted('a“b”c"d"').tolist() == [0, 1, 1, 0, 0, 1, 1, 0]
    assert chapter.place_in_line("ab\nc").tolist() == [1, 2, 0, 1]
    assert chapter.place_in_sentence("a!\nb.").tolist() == [1, 0, 1, 2, 0]
    between, is_end = chapter.choices(torch.tensor(chapter.vocab[list("a b\na \n")]))
    assert between.tolist() == [1, 0, 1, 0, 1, 0] and is_end.tolist() == [0, 1, 0]


@given(st.text("ab ", min_size=1, max_size=30), st.text("ab ", max_size=60))
def test_the_longest_copied_piece_against_all_pieces(chapter, written, source):
    pieces = (written[i:j] for i in range(len(written)) for j in range(i, len(written) + 1))
    longest = max(len(piece) for piece in pieces if piece in source)
    found = chapter.longest_copied(written, source)
    assert len(found) == longest and found in source and found in written
