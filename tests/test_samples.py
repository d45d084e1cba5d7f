"""The embedded corpora: well formed, large enough, balanced, and neither trivial nor hopeless."""

import csv
import math
import re
from collections import Counter

import pytest

from utils.datasets import READERS, SAMPLES

SPLITS, LABELS = ("train", "test"), ("0", "1")  # blame and praise
HAN = "[\u4e00-\u9fff]"


def read(name):
    return (SAMPLES / name).read_bytes().decode("utf-8")


@pytest.fixture(scope="module")
def reviews():
    lines = read("reviews.tsv").splitlines()
    assert lines[0] == "split\tlabel\ttext"
    return list(csv.reader(lines[1:], delimiter="\t", quoting=csv.QUOTE_NONE))


@pytest.mark.parametrize("name", ["story.txt", "verse.txt", "reviews.tsv", "words.dict"])
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


def test_the_reviews_are_many_balanced_and_as_wild_as_those_of_imdb(reviews):
    counts = Counter((split, label) for split, label, _ in reviews)
    assert counts.keys() == {(split, label) for split in SPLITS for label in LABELS}
    for split in SPLITS:
        assert counts[split, "0"] == counts[split, "1"] >= 180
    words = [len(text.replace("<br />", " ").split()) for _, _, text in reviews]
    assert min(words) >= 15 and max(words) <= 120
    bare = [re.sub("[^a-z]", "", text.lower().replace("<br />", "")) for _, _, text in reviews]
    assert len(set(bare)) == len(bare)  # none comes twice
    assert sum("<br />" in text for _, _, text in reviews) >= 100
    everything = read("reviews.tsv")
    assert [face for face in (":)", ":(", ":D", ":P") if face not in everything] == []


def test_the_words_have_all_letters_and_sounds_and_their_notice():
    words = READERS["pronunciations"](SAMPLES / "words.dict")
    assert len(words) == 1500 and words == sorted(words)
    assert {len(word) for word, _ in words} == set(range(3, 15))
    assert len({letter for word, _ in words for letter in word}) == 26
    assert len({sound for _, sounds in words for sound in sounds}) == 39
    assert "# Copyright (C) 1993-2015 Carnegie Mellon University." in read("words.dict")


def words_of(text):
    return set(re.findall("[a-z']+", text.lower().replace("<br />", " ")))


def test_counting_words_solves_the_reviews_in_part_only(reviews):
    """Naive Bayes: each word of a review adds the logarithm of how much more praise has it."""
    counts = {label: Counter({}) for label in LABELS}
    for split, label, text in reviews:
        if split == "train":
            counts[label].update(words_of(text))
    words = {word for label in LABELS for word in counts[label]}
    weights = {word: math.log((counts["1"][word] + 1) / (counts["0"][word] + 1)) for word in words}
    right = [
        (sum(weights.get(word, 0) for word in words_of(text)) > 0) == (label == "1")
        for split, label, text in reviews
        if split == "test"
    ]
    assert 0.7 < sum(right) / len(right) < 1
