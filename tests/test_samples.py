"""The embedded corpora: well formed, large enough, balanced, and neither trivial nor hopeless."""

import csv
import re
from collections import Counter

import pytest
import torch
from torch.nn.functional import binary_cross_entropy_with_logits

from utils.datasets import SAMPLES

SPLITS, LABELS = ("train", "test"), ("0", "1")  # blame and praise
HAN = "[\u4e00-\u9fff]"


def read(name):
    return (SAMPLES / name).read_bytes().decode("utf-8")


@pytest.fixture(scope="module")
def reviews():
    """The rows of reviews.tsv, each a list of split, label and text."""
    lines = read("reviews.tsv").splitlines()
    assert lines[0] == "split\tlabel\ttext"
    return list(csv.reader(lines[1:], delimiter="\t", quoting=csv.QUOTE_NONE))


@pytest.mark.parametrize("name", ["story.txt", "verse.txt", "reviews.tsv"])
def test_the_files_are_clean_utf8_text(name):
    text = read(name)
    assert text.endswith("\n") and not text.endswith("\n\n")
    assert not re.search("[\ufeff\ufffd\r]|[ \t]\n", text)
    assert name == "verse.txt" or text.isascii()


def test_the_story_is_one_of_a_time_traveller_and_does_not_repeat_itself():
    text = read("story.txt")
    assert len(text) >= 24_000
    assert max(map(len, text.splitlines())) <= 70
    numerals = re.findall("^[IVX]+$", text, re.MULTILINE)
    assert numerals == ["I", "II", "III", "IV", "V", "VI", "VII", "VIII", "IX", "X"]
    flat = " ".join(text.lower().split())
    assert flat.count("traveller") >= 30 and flat.count("time traveller") >= 5
    long = [paragraph for paragraph in text.split("\n\n") if len(paragraph) > 40]
    assert len(long) > 100 and len(set(long)) == len(long)


def test_poems_have_four_or_eight_lines_of_five_or_seven_characters_and_none_twice():
    text = read("verse.txt")
    assert len(text.encode()) >= 9_000
    assert len(text) >= 3_000 and len(set(text)) >= 700
    couplets = [f"(?:{HAN}{{{size}}}，{HAN}{{{size}}}。)" for size in (5, 7)]
    form = re.compile("|".join(f"{c}{{2}}|{c}{{4}}" for c in couplets))
    poems = text.splitlines()
    assert len(poems) >= 100
    assert [poem for poem in poems if not form.fullmatch(poem)] == []
    lines = re.findall("[^，。\n]+", text)
    assert len(set(lines)) == len(lines)


def test_the_reviews_are_many_and_balanced_and_none_comes_twice(reviews):
    assert all(len(row) == 3 for row in reviews) and len(reviews) >= 720
    counts = Counter((split, label) for split, label, _ in reviews)
    assert counts.keys() == {(split, label) for split in SPLITS for label in LABELS}
    for split in SPLITS:
        assert counts[split, "0"] == counts[split, "1"] >= 180
    words = [len(text.replace("<br />", " ").split()) for _, _, text in reviews]
    assert min(words) >= 15 and max(words) <= 120
    bare = [re.sub("[^a-z]", "", text.lower().replace("<br />", "")) for _, _, text in reviews]
    assert len(set(bare)) == len(bare)


def test_some_reviews_hold_tags_and_emoticons(reviews):
    texts = [text for _, _, text in reviews]
    assert sum("<br />" in text for text in texts) >= 100
    for emoticon in (":)", ":(", ":D", ":P"):
        assert any(emoticon in text for text in texts)


def features(texts, vocabulary):
    """Return which words of the vocabulary each text has: (len(texts), len(vocabulary))."""
    X = torch.zeros(len(texts), len(vocabulary))
    for i, text in enumerate(texts):
        X[i, [vocabulary[word] for word in words_of(text) if word in vocabulary]] = 1
    return X


def words_of(text):
    return sorted(set(re.findall("[a-z']+", text.lower().replace("<br />", " "))))


def fit_linear(X, Y):
    """Return the weights and the bias of a logistic regression with a small L2 penalty."""
    weights = torch.zeros(X.shape[1] + 1, requires_grad=True)
    optimizer = torch.optim.LBFGS([weights], max_iter=100)

    def loss():
        optimizer.zero_grad()
        penalty = 1e-3 * weights[:-1].square().sum()
        total = binary_cross_entropy_with_logits(X @ weights[:-1] + weights[-1], Y) + penalty
        total.backward()
        return total

    optimizer.step(loss)
    return weights.detach()


def test_counting_words_solves_the_reviews_in_part_only(reviews):
    vocabulary = sorted({word for _, _, text in reviews for word in words_of(text)})
    columns = {word: column for column, word in enumerate(vocabulary)}
    X = {split: features([t for s, _, t in reviews if s == split], columns) for split in SPLITS}
    Y = {split: torch.tensor([float(y) for s, y, _ in reviews if s == split]) for split in SPLITS}
    weights = fit_linear(X["train"], Y["train"])
    logits = X["test"] @ weights[:-1] + weights[-1]
    accuracy = ((logits > 0) == (Y["test"] > 0)).float().mean().item()
    assert 0.7 < accuracy < 1, f"expected a test accuracy between 0.7 and 1, got {accuracy:.3f}"
