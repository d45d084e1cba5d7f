"""Chapter 03: it finds an exponent that is known, writes only what it has seen, and smooths."""

import math
from collections import Counter
from itertools import pairwise

import numpy as np
import pytest
from notebooks import definitions

from utils.runtime import seed
from utils.training import perplexity


@pytest.fixture(scope="module")
def chapter():
    names = "ngrams", "write", "ZipfConfig", "fit_zipf", "perplexity_of", "laplace_perplexity"
    return definitions(3, *names, perplexity=perplexity)


def test_zipf_exponent_is_found_where_it_is_known(chapter):
    counts = list(5_000 / np.arange(1, 2_001) ** 0.8)
    exponent, log_constant = chapter.fit_zipf(counts, chapter.ZipfConfig())
    assert exponent == pytest.approx(0.8) and log_constant == pytest.approx(math.log(5_000))


def test_write_draws_followers_by_their_counts_and_reads_the_text_as_a_circle(chapter):
    seed(0)
    assert "".join(chapter.write("abc", "a", 2, 5)) == "abcabc"
    pairs = Counter(pairwise(chapter.write("aab", "a", 2, 6_000)))
    assert pairs["a", "a"] / pairs["a", "b"] == pytest.approx(1, abs=0.1)
    assert set(chapter.write("aab", "", 1, 50)) == {"a", "b"}


def test_laplace_smoothing_shares_out_one_and_tends_to_the_uniform_model(chapter):
    text = [1, 2, 1, 3, 1, 2]
    losses = [math.log(chapter.laplace_perplexity(text, [1, x], 2, 0.5, 4)) for x in range(4)]
    assert sum(math.exp(-loss) for loss in losses) == pytest.approx(1)
    assert chapter.laplace_perplexity(text, text, 2, 1e9, 4) == pytest.approx(4)
