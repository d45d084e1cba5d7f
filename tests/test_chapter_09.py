"""Chapter 09: tokens of reviews as the errata want them, and the small functions of the project."""

import re
from itertools import combinations
from types import SimpleNamespace

import pytest
import torch
from notebooks import definitions
from torch import nn
from torch.nn import functional as F

from utils.batching import pad

NAMES = ["TAG", "TOKEN", "tokenize_review", "glue_tags", "shorten", "hide_words", "collate"]
NAMES += ["loader", "read", "accuracy", "grams", "as_features", "Bag", "log_ratios"]
NAMES += ["pair_counts", "coloured", "strongest", "in_words"]
KNOWN = [2, 3, 4, 32, 43]  # three words, and the pairs (2, 2) and (3, 3) of a vocabulary of ten


@pytest.fixture(scope="module")
def chapter():
    given = {"PAD": 1, "pad": pad, "device": lambda: torch.device("cpu"), "vocab": range(10)}
    given |= {"training": SimpleNamespace(max_length=5, vocab_size=100)}
    return definitions(9, *NAMES, known=torch.tensor(KNOWN), **given)


@pytest.mark.parametrize(
    ("text", "tokens"),
    [
        ("The end<br /><br />Not bad", ["the", "end", "not", "bad"]),
        ("<i>Alien</i>s", ["alien", "s"]),
        ("good :D bad :P", ["good", ":D", "bad", ":P"]),
        (":-) ;-( =D", [":)", ";(", "=D"]),
        ("MOVIE:Drama, cast:People", ["movie", "drama", "cast", "people"]),
        ("I <3 it, 5 < 6 and 7 > 2", ["i", "3", "it", "5", "6", "and", "7", "2"]),
        ("Amélie, 8/10", ["amélie", "8", "10"]),
        (" !?", []),
        ("an unclosed <br", ["an", "unclosed", "br"]),
    ],
)
def test_tags_leave_a_space_and_faces_survive(chapter, text, tokens):
    assert chapter.tokenize_review(text) == tokens


def test_a_long_review_loses_its_middle_and_rare_words_become_unknown(chapter):
    assert chapter.shorten(torch.arange(2, 7)).tolist() == [2, 3, 4, 5, 6]
    assert chapter.shorten(torch.arange(2, 12)).tolist() == [2, 3, 9, 10, 11]
    assert chapter.shorten(torch.tensor([99, 100, 5])).tolist() == [99, 0, 5]


def test_hidden_words_are_a_share_of_the_words_and_never_padding(chapter):
    torch.manual_seed(0)
    X = torch.full((200, 100), 7)
    X[:, 60:] = 1
    hidden = chapter.hide_words(X, 0.2)
    assert (hidden[:, 60:] == 1).all() and set(hidden[:, :60].unique().tolist()) == {0, 7}
    assert (hidden == 0).double().sum() / 12_000 == pytest.approx(0.2, abs=0.02)
    assert chapter.hide_words(X, 0.0).equal(X)


class Lengths(nn.Module):
    def forward(self, X, lengths):
        return lengths.float()


def test_reading_puts_each_logit_in_its_place_and_accuracy_counts(chapter):
    texts = [torch.arange(2, 2 + n) for n in (5, 1, 9, 3, 3, 7, 2)]
    assert chapter.read(Lengths(), texts, batch_size=2).tolist() == [5, 1, 9, 3, 3, 7, 2]
    logits = torch.tensor([2.0, -1.0, 0.5, 0.0])
    assert chapter.accuracy(logits, torch.tensor([1.0, 0.0, 0.0, 0.0])) == 0.75, "a draw is blame"


def test_features_are_the_known_words_and_pairs_each_once(chapter):
    texts = map(torch.tensor, ([2, 2, 2, 9], [3, 3, 4, 2], [9]))
    found = [chapter.as_features(text).tolist() for text in texts]
    assert found == [[0, 2, 5], [0, 2, 3, 4, 6], [0]]


def test_factors_are_the_log_ratios_of_naive_bayes_and_the_bag_adds_them(chapter):
    features = [torch.tensor(f) for f in ([0, 2, 5], [0, 2, 3], [0, 3])]
    ratios = chapter.log_ratios(features, torch.tensor([1.0, 1.0, 0.0]))
    praise, blame = torch.tensor([3.0, 1, 3, 2, 1, 2, 1]), torch.tensor([2.0, 1, 1, 2, 1, 1, 1])
    expected = (praise / praise.sum()).log() - (blame / blame.sum()).log()
    torch.testing.assert_close(ratios[2:], expected[2:])
    assert ratios[:2].tolist() == [0, 0]
    bag = chapter.Bag(ratios)
    bag.weights.data.fill_(2.0)
    logits = bag(*pad(features, 1))
    torch.testing.assert_close(logits[1:], 2 * torch.stack([ratios[2] + ratios[3], ratios[3]]))


def test_the_source_glues_words_and_ends_of_the_tensor_depend_on_padding(chapter):
    assert chapter.glue_tags("An end<br />Not :D") == ["an", "endnot", "d"]
    torch.manual_seed(0)
    layer, inputs = nn.LSTM(6, 5, bidirectional=True), torch.randn(4, 1, 6)
    ends = [layer(F.pad(inputs, (0, 0, 0, 0, 0, more)))[0][[0, -1], 0] for more in (0, 20)]
    assert (ends[0] - ends[1]).abs().max() > 0.05


def test_pair_counts_against_a_loop(chapter):
    torch.manual_seed(0)
    texts = [torch.randint(12, (n,)) for n in (9, 1, 6)]
    expected = torch.zeros(10, 10)
    for text in texts:
        for (i, left), (j, right) in combinations(enumerate(text), 2):
            if j - i <= 3 and 1 < left < 10 and 1 < right < 10:
                expected[left, right] += 1 / (j - i)
                expected[right, left] += 1 / (j - i)
    counts = chapter.pair_counts(texts, 10, reach=3).to_dense()
    torch.testing.assert_close(counts, expected)


def test_the_picture_has_a_text_alternative_and_escapes_what_it_shows(chapter):
    tokens, influence = ["<b>", "fine", "&", "dull"], torch.tensor([0.0, 2.0, 0.1, -1.0])
    page = chapter.coloured(tokens, influence)
    assert "<b>" not in page and "&lt;b&gt;" in page and "&amp;" in page
    assert re.findall(r"2px (\w+)", page) == ["none", "solid", "none", "dotted"]
    assert max(map(float, re.findall(r", ([\d.]+)\)", page))) <= 0.34, "text stays readable"
    assert chapter.in_words(tokens, influence) == "For praise: fine, &. For blame: dull."
    silent = chapter.in_words(["film"], torch.zeros(1))
    assert silent == "For praise: no word. For blame: no word."
