"""The n-gram model is a probability distribution, and perplexity is a geometric mean of 1 / p."""

import math
from collections import Counter
from itertools import pairwise

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from utils import d2l
from utils.ngrams import NGramModel, draw, sample
from utils.training import perplexity

VOCAB_SIZE = 5
id_lists = st.lists(st.integers(0, VOCAB_SIZE - 1), max_size=40)
probabilities = st.lists(st.floats(1e-6, 1), min_size=1, max_size=30)
ABRACADABRA = [1, 2, 3, 1, 4, 1, 0, 1, 2, 3, 1]  # a b r a c a d a b r a


def losses(ps):
    return [-math.log(p) for p in ps]


@given(ids=id_lists, context=id_lists, order=st.integers(1, 5))
def test_probabilities_are_positive_and_sum_to_one(ids, context, order):
    model = NGramModel(order, VOCAB_SIZE).fit(ids)
    ps = [model.probability(token, context) for token in range(VOCAB_SIZE)]
    assert min(ps) > 0 and sum(ps) == pytest.approx(1)


@given(ids=id_lists, context=id_lists, order=st.integers(1, 5))
def test_only_the_last_order_minus_one_tokens_count(ids, context, order):
    model = NGramModel(order, VOCAB_SIZE).fit(ids)
    short = context[len(context) - order + 1 :] if order - 1 < len(context) else context
    assert model.probability(0, context) == model.probability(0, short)


@given(ids=id_lists, test=id_lists, order=st.integers(1, 5))
def test_loss_is_the_sum_over_tokens(ids, test, order):
    model = NGramModel(order, VOCAB_SIZE).fit(ids)
    expected = -sum(math.log(model.probability(x, test[:t])) for t, x in enumerate(test))
    assert model.loss(test) == pytest.approx(expected)


@given(one=id_lists, two=id_lists)
def test_fit_adds_texts_and_does_not_join_them(one, two):
    model = NGramModel(3, VOCAB_SIZE).fit(one).fit(two)
    assert model.counts.get((), Counter()) == Counter(one + two)
    pairs = Counter(pairwise(one)) + Counter(pairwise(two))
    counted = {(*c, x): n for c, f in model.counts.items() if len(c) == 1 for x, n in f.items()}
    assert counted == pairs


@given(ids=id_lists, context=id_lists)
def test_asking_does_not_change_the_model(ids, context):
    model = NGramModel(4, VOCAB_SIZE).fit(ids)
    before = {context: Counter(counts) for context, counts in model.counts.items()}
    model.probability(1, context)
    model.loss(context)
    assert model.counts == before


def test_bigram_by_hand():
    model = NGramModel(2, 6).fit(ABRACADABRA)
    p_b = (2 + 5 / 6) / (11 + 5)
    assert model.probability(2, []) == pytest.approx(p_b)
    assert model.probability(2, [1]) == pytest.approx((2 + 3 * p_b) / (4 + 3))
    assert model.probability(5, [1]) == pytest.approx(3 * (5 / 6 / 16) / 7)


def test_unseen_context_falls_back():
    model = NGramModel(3, 6).fit(ABRACADABRA)
    assert model.probability(1, [5, 2]) == model.probability(1, [2])
    assert model.probability(1, [5, 5]) == model.probability(1, [])


def test_empty_text_gives_the_uniform_model():
    model = NGramModel(3, 4).fit([])
    assert model.probability(2, [0, 1]) == 1 / 4
    assert model.loss([]) == 0
    assert perplexity(model.loss([0, 1, 2]), 3) == pytest.approx(4)


def test_one_token():
    model = NGramModel(3, 4).fit([2])
    assert model.probability(2, []) == pytest.approx((1 + 1 / 4) / 2)
    assert model.probability(2, [2]) == model.probability(2, [])


def test_loss_of_a_text_that_is_known_well_is_small():
    model = NGramModel(4, 3).fit([0, 1, 2] * 200)
    assert perplexity(model.loss([0, 1, 2] * 20), 60) < 1.2


@pytest.mark.parametrize("name", ["order", "vocab_size"])
@pytest.mark.parametrize("size", [0, -1, True, 2.0, "2", None])
def test_bad_sizes(name, size):
    expected = ValueError if type(size) is int else TypeError
    with pytest.raises(expected, match=f"{name} must be a positive integer, got {size!r}"):
        NGramModel(**{"order": 2, "vocab_size": 5, name: size})


@pytest.mark.parametrize("ids", [torch.arange(3), "abc", (0, 1), None])
def test_ids_must_be_a_list(ids):
    model = NGramModel(2, VOCAB_SIZE)
    for call in (model.fit, lambda ids: sample(model, ids, 1)):
        with pytest.raises(TypeError, match=f"ids must be a list .*, got {type(ids).__name__}"):
            call(ids)


@pytest.mark.parametrize("token", ["a", True, 1.0, torch.tensor(1), None, 5, -1])
def test_ids_must_be_integers_of_the_vocabulary(token):
    model = NGramModel(2, VOCAB_SIZE)
    expected = ValueError if type(token) is int else TypeError
    for call in (model.fit, model.loss, lambda ids: sample(model, ids, 1)):
        with pytest.raises(expected, match="ids must"):
            call([0, token])
    for token_and_context in ((token, []), (0, [token])):
        with pytest.raises(expected, match="ids must"):
            model.probability(*token_and_context)


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


@pytest.mark.parametrize("num_tokens", [0, -1, True, 2.0])
def test_sampling_bad_number(num_tokens):
    with pytest.raises((TypeError, ValueError), match="num_tokens must be a positive integer"):
        sample(NGramModel(2, 3), [], num_tokens)


# Perplexity


@pytest.mark.parametrize("vocab_size", [1, 2, 28, 4_580])
def test_uniform_model_has_the_size_of_its_vocabulary(vocab_size):
    assert perplexity(sum(losses([1 / vocab_size] * 7)), 7) == pytest.approx(vocab_size)


def test_perfect_model_has_one_and_impossible_token_infinity():
    assert perplexity(sum(losses([1.0] * 7)), 7) == 1
    assert perplexity(math.inf, 7) == math.inf


@given(probabilities)
def test_perplexity_is_the_geometric_mean_of_choices(ps):
    geometric = math.prod(p ** (-1 / len(ps)) for p in ps)
    assert perplexity(sum(losses(ps)), len(ps)) == pytest.approx(geometric)


def test_perplexity_weighs_tokens_and_not_windows():
    windows = [losses([0.5] * 99), losses([0.001])]
    right = perplexity(sum(map(sum, windows)), 100)
    assert right == pytest.approx(math.exp((99 * math.log(2) + math.log(1000)) / 100))
    assert math.exp(sum(sum(w) / len(w) for w in windows) / 2) > 10 * right


# What the books get wrong


def test_perplexity_is_neither_harmonic_mean_nor_its_reciprocal():
    """d2l-zh calls it the harmonic mean of the number of choices, d2l-en a reciprocal."""
    choices = [2, 4, 32]
    harmonic = 3 / sum(1 / c for c in choices)
    right = perplexity(sum(math.log(c) for c in choices), 3)
    assert right == pytest.approx(256 ** (1 / 3))
    assert harmonic < 0.7 * right and 1 / right < 1 < right


@given(probabilities)
def test_mean_of_exp_is_never_below_exp_of_mean(ps):
    right = perplexity(sum(losses(ps)), len(ps))
    assert sum(map(math.exp, losses(ps))) / len(ps) >= right * (1 - 1e-9)


def test_d2l_1_plots_the_mean_of_exp():
    """The values that d2l's own language model plots, averaged by d2l's own board."""

    class Uniform(d2l.RNNLMScratch):
        """Logits that give token 0 the probability the minibatch asks for."""

        def init_params(self):
            self.plotted = []

        def forward(self, X, state=None):
            p = X[..., :1].float() / 10
            return torch.cat([p, 1 - p], dim=-1).log()[:, None]

        def plot(self, key, value, train):
            self.plotted.append((key, value.item()))

    model = Uniform(rnn=None, vocab_size=2)
    board = d2l.ProgressBoard(display=False)
    for step, tenths in enumerate((1, 9)):  # minibatches with p = 0.1 and p = 0.9
        model.training_step([torch.full((4, 1), tenths), torch.zeros(4, 1, dtype=torch.long)])
        board.draw(step, model.plotted[-1][1], "ppl", every_n=2)
    assert {key for key, _ in model.plotted} == {"ppl"}
    assert board.data["ppl"][0].y == pytest.approx((10 + 10 / 9) / 2, rel=1e-4)
    assert perplexity(sum(losses([0.1, 0.9])), 2) == pytest.approx(10 / 3)
