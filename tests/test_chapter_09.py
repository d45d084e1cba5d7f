"""Chapter 09: tokens of reviews as the errata want them, and the small functions of the project."""

import math
import re
from types import SimpleNamespace

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from notebooks import definitions
from torch import nn
from torch.nn import functional as F

from utils.batching import pad

NAMES = ["TAG", "TOKEN", "tokenize_review", "shorten", "hide_words", "minibatch"]
NAMES += ["read", "accuracy", "BagOfWords", "pair_counts", "company_vectors", "seconds_until"]
NAMES += ["coloured", "strongest", "in_words"]


@pytest.fixture(scope="module")
def chapter():
    """Return the functions and classes that the chapter defines, without its experiments."""
    return definitions(9, *NAMES, PAD=1, pad=pad, device=lambda: torch.device("cpu"))


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
        ("", []),
        (" \n\t!?", []),
        ("an unclosed <br", ["an", "unclosed", "br"]),
    ],
)
def test_tags_leave_a_space_and_faces_survive(chapter, text, tokens):
    assert chapter.tokenize_review(text) == tokens


@given(st.lists(st.sampled_from(["film", "Bad", ":D", ":-(", "<br />", "8"])))
def test_tokens_are_those_of_the_parts(chapter, parts):
    apart = [token for part in parts for token in chapter.tokenize_review(part)]
    assert chapter.tokenize_review(" ".join(parts)) == apart
    assert not {"br", "<", ">"} & set(apart)


def test_a_long_review_loses_its_middle_and_rare_words_become_unknown(chapter):
    recipe = SimpleNamespace(max_length=5, vocab_size=100)
    assert chapter.shorten(torch.arange(2, 7), recipe).tolist() == [2, 3, 4, 5, 6]
    assert chapter.shorten(torch.arange(2, 12), recipe).tolist() == [2, 3, 9, 10, 11]
    assert chapter.shorten(torch.tensor([99, 100, 5]), recipe).tolist() == [99, 0, 5]


def test_hidden_words_are_a_share_of_the_words_and_never_padding(chapter):
    torch.manual_seed(0)
    X = torch.full((200, 100), 7)
    X[:, 60:] = 1
    hidden = chapter.hide_words(X, 0.2)
    assert (hidden[:, 60:] == 1).all() and set(hidden[:, :60].unique().tolist()) == {0, 7}
    assert (hidden == 0).double().sum() / 12_000 == pytest.approx(0.2, abs=0.02)
    assert chapter.hide_words(X, 0.0).equal(X)


class Lengths(nn.Module):
    """Give each text its length as its logit."""

    def forward(self, X, lengths):
        return lengths.float()


def test_reading_puts_each_logit_in_its_place(chapter):
    texts = [torch.arange(2, 2 + n) for n in (5, 1, 9, 3, 3, 7, 2)]
    assert chapter.read(Lengths(), texts, batch_size=2).tolist() == [5, 1, 9, 3, 3, 7, 2]


def test_accuracy_counts_a_draw_as_blame(chapter):
    logits = torch.tensor([2.0, -1.0, 0.5, 0.0])
    assert chapter.accuracy(logits, torch.tensor([1.0, 0.0, 0.0, 0.0])) == 0.75


def test_the_bag_of_words_takes_the_mean_of_the_words_and_skips_padding(chapter):
    bag = chapter.BagOfWords(6)
    bag.weights.weight.data[:, 0] = torch.tensor([0.0, 50.0, 1.0, 2.0, 3.0, 9.0])
    X, lengths = pad([torch.tensor([2, 3, 5]), torch.tensor([4])], 1)
    assert bag(X, lengths).tolist() == [4.0, 3.0]


def test_pair_counts_against_a_loop(chapter):
    torch.manual_seed(0)
    texts = [torch.randint(12, (n,)) for n in (9, 1, 6)]
    expected = torch.zeros(10, 10)
    for text in texts:
        for i in range(len(text)):
            for k in range(1, min(4, len(text) - i)):
                left, right = text[i], text[i + k]
                if 1 < left < 10 and 1 < right < 10:
                    expected[left, right] += 1 / k
                    expected[right, left] += 1 / k
    counts = chapter.pair_counts(texts, 10, reach=3).to_dense()
    torch.testing.assert_close(counts, expected)


def test_words_in_like_company_get_like_vectors(chapter):
    torch.manual_seed(0)
    company = {2: [4, 5, 6], 3: [4, 5, 6], 7: [8, 9, 10]}
    texts = [
        torch.tensor([company[word][i], word, company[word][j]])
        for word in company
        for i in range(3)
        for j in range(3)
    ]
    vectors = chapter.company_vectors(texts, 11, 3)
    assert vectors.shape == (11, 3) and vectors.isfinite().all()
    same, other = (F.cosine_similarity(vectors[2], vectors[word], dim=0) for word in (3, 7))
    assert same > other + 0.1


def test_seconds_until_the_first_pass_that_is_good_enough(chapter):
    rows = [(1.5, 0.7, 0.6), (3.0, 0.5, 0.86), (4.5, 0.4, 0.85)]
    assert chapter.seconds_until(rows, 0.85) == 3.0
    assert chapter.seconds_until(rows, 0.9) == math.inf


def test_the_picture_has_a_text_alternative_and_escapes_what_it_shows(chapter):
    tokens, influence = ["<b>", "fine", "&", "dull"], torch.tensor([0.0, 2.0, 0.1, -1.0])
    page = chapter.coloured(tokens, influence)
    assert "<b>" not in page and "&lt;b&gt;" in page and "&amp;" in page
    assert re.findall(r"2px (\w+)", page) == ["none", "solid", "none", "dotted"]
    assert max(map(float, re.findall(r", ([\d.]+)\)", page))) <= 0.34, "text stays readable"
    assert chapter.in_words(tokens, influence) == "For praise: fine, &. For blame: dull."
    silent = chapter.in_words(["film"], torch.zeros(1))
    assert silent == "For praise: no word. For blame: no word."
