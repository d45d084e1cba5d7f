"""The n-gram model is a probability distribution, and it draws from it."""

import math
from collections import Counter
from itertools import pairwise

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from utils.ngrams import KneserNey, NGramModel, draw, sample

VOCAB_SIZE = 5
id_lists = st.lists(st.integers(0, VOCAB_SIZE - 1), max_size=40)
ABRACADABRA = [1, 2, 3, 1, 4, 1, 0, 1, 2, 3, 1]  # a b r a c a d a b r a


@pytest.mark.parametrize("kind", [NGramModel, KneserNey])
@given(ids=id_lists, context=id_lists, order=st.integers(1, 5))
def test_probabilities_are_positive_and_sum_to_one(kind, ids, context, order):
    model = kind(order, VOCAB_SIZE).fit(ids)
    ps = [model.probability(token, context) for token in range(VOCAB_SIZE)]
    assert min(ps) > 0 and sum(ps) == pytest.approx(1)


@given(ids=id_lists, test=id_lists, order=st.integers(1, 5))
def test_loss_is_the_sum_over_tokens_and_asking_changes_nothing(ids, test, order):
    model = NGramModel(order, VOCAB_SIZE).fit(ids)
    before = {context: Counter(counts) for context, counts in model.counts.items()}
    expected = -sum(math.log(model.probability(x, test[:t])) for t, x in enumerate(test))
    assert model.loss(test) == pytest.approx(expected)
    assert model.counts == before


@given(one=id_lists, two=id_lists)
def test_fit_adds_texts_and_does_not_join_them(one, two):
    model = NGramModel(3, VOCAB_SIZE).fit(one).fit(two)
    assert model.counts.get((), Counter()) == Counter(one + two)
    pairs = Counter(pairwise(one)) + Counter(pairwise(two))
    counted = {(*c, x): n for c, f in model.counts.items() if len(c) == 1 for x, n in f.items()}
    assert counted == pairs


def test_bigram_and_trigram_by_hand():
    model = NGramModel(2, 6).fit(ABRACADABRA)
    p_b = (2 + 5 / 6) / (11 + 5)
    assert model.probability(2, []) == pytest.approx(p_b)
    assert model.probability(2, [1]) == pytest.approx((2 + 3 * p_b) / (4 + 3))
    assert model.probability(5, [1]) == pytest.approx(3 * (5 / 6 / 16) / 7)
    trigram = NGramModel(3, 6).fit(ABRACADABRA)  # falls back where it has not seen a context
    assert trigram.probability(1, [5, 2]) == trigram.probability(1, [2])
    assert trigram.probability(1, [5, 5]) == trigram.probability(1, [])


def test_kneser_ney_by_hand():
    model = KneserNey(2, 6).fit(ABRACADABRA)
    p_b = (1 - 0.9 + 0.9 * 5 / 6) / 7  # one of the 7 distinct pairs ends in b; 5 letters follow
    assert model.probability(2, []) == pytest.approx(p_b)
    assert model.probability(2, [1]) == pytest.approx((2 - 0.9 + 0.9 * 3 * p_b) / 4)
    with pytest.raises(ValueError, match=r"fit takes one text, once, got 6 contexts before"):
        model.fit(ABRACADABRA)
    with pytest.raises(ValueError, match=r"ids must lie in 0..5"):
        model.probability(6, [])


def test_sampling_follows_the_probabilities():
    torch.manual_seed(1)
    model = NGramModel(3, 6).fit(ABRACADABRA)
    for context in ([], [1], [3, 1], [5, 5]):
        drawn = Counter(draw(model, context) for _ in range(4_000))
        for token in range(6):
            p = model.probability(token, context)
            assert drawn[token] / 4_000 == pytest.approx(p, abs=4 * math.sqrt(p / 4_000))


def test_sampling_reads_what_it_wrote_and_keeps_its_context():
    torch.manual_seed(2)
    model, context = NGramModel(2, 3).fit([0, 1, 2] * 10_000), [0]
    assert sample(model, context, 5) == [1, 2, 0, 1, 2]
    assert context == [0]
    assert set(sample(NGramModel(2, 3), [], 50)) <= {0, 1, 2}
