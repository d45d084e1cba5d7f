"""Generation and sampling: what a setting keeps, how often a token is drawn, and bad input."""

import math

import pytest
import torch
from hypothesis import example, given
from hypothesis import strategies as st
from torch import nn

from utils.models import LanguageModel, RNNScratch
from utils.runtime import seed
from utils.sampling import generate, greedy, probabilities, sampler
from utils.text import Vocab

TINY = 1e-9  # room for rounding

temperatures = st.floats(0.05, 20) | st.integers(1, 20)
many_logits = st.lists(st.floats(-30, 30, width=32), min_size=1, max_size=40).map(torch.tensor)

VOCAB = Vocab(list("abcd"))
MODELS = {
    "RNNScratch": lambda: RNNScratch(5, 8, sigma=1.0),
    "deep LSTM": lambda: LanguageModel(nn.LSTM(4, 8, num_layers=2), 5),
}


def build(name):
    torch.manual_seed(0)
    model = MODELS[name]().double()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.normal_()
    return model


def softmax(logits, temperature=1.0):
    powers = [math.exp((x - max(logits)) / temperature) for x in logits]
    return torch.tensor([power / sum(powers) for power in powers], dtype=torch.float64)


def close(actual, expected, atol=1e-12):
    expected = torch.as_tensor(expected, dtype=torch.float64)
    torch.testing.assert_close(actual, expected, rtol=0, atol=atol)


# --- generate
def read_again(model, prefix, num_tokens, pick):
    """Return what generate should: the whole text is read anew for each character."""
    ids = VOCAB[list(prefix)]
    for _ in range(num_tokens):
        with torch.no_grad():
            logits, _ = model(torch.tensor([ids]))
        ids.append(pick(logits[-1, 0]))
    return prefix + "".join(VOCAB.to_tokens(ids[len(prefix) :]))


@pytest.mark.parametrize("name", MODELS)
@pytest.mark.parametrize("settings", [None, {}, {"temperature": 2.0}, {"top_k": 3, "top_p": 0.9}])
def test_equals_reading_the_whole_text_again_for_each_character(name, settings):
    """Greedy by default; one seed gives one text; unknown characters of the prefix stay."""
    model, texts = build(name), set()
    given = {} if settings is None else {"pick": sampler(**settings)}
    for number, prefix in enumerate(("a", "abca", "a?b", "春")):
        seed(number)
        text = generate(model, VOCAB, prefix, 20, **given)
        seed(number)
        assert text == read_again(model, prefix, 20, given.get("pick", greedy))
        texts.add(text[-20:])
    assert settings is None or len(texts) > 1


def test_writes_without_dropout_or_graph_and_leaves_the_model_in_evaluation():
    torch.manual_seed(0)
    model, seen = LanguageModel(nn.GRU(4, 8), 5, dropout=0.5), []
    model.register_forward_hook(lambda it, _, out: seen.append(it.training or out[0].requires_grad))
    generate(model.train(), VOCAB, "ab", 20)
    assert not any(seen) and not model.training


# --- temperature
@given(logits=many_logits, temperature=temperatures)
@example(logits=torch.tensor([1.0, 3.0, 2.0]), temperature=1e-300)
@example(logits=torch.tensor([3.0, 1.0, 3.0]), temperature=1e300)
def test_with_nothing_cut_is_the_softmax(logits, temperature):
    close(probabilities(logits), softmax(logits.tolist()))
    close(probabilities(logits, temperature), softmax(logits.tolist(), temperature))


@pytest.mark.parametrize("dtype", [torch.float16, torch.float32, torch.float64])
@pytest.mark.parametrize("settings", [{}, {"top_k": 2}, {"top_p": 0.9}, {"top_k": 2, "top_p": 0.4}])
def test_extreme_temperatures_and_logits_give_numbers(dtype, settings):
    huge = torch.finfo(dtype).max
    for temperature in (5e-324, 1e-300, 1e-3, 1, 1e300, 1.7e308):
        for logits in ([1, 3, 2], [huge, -huge, 0], [-huge, -huge, -math.inf], [1e-7, 0, 0]):
            probs = probabilities(torch.tensor(logits, dtype=dtype), temperature, **settings)
            assert probs.isfinite().all() and probs.sum().item() == pytest.approx(1)


# --- top_k and top_p
@given(logits=many_logits, top_k=st.integers(1, 50))
@example(logits=torch.zeros(40), top_k=7)
def test_top_k_keeps_exactly_k_and_of_equals_the_earlier(logits, top_k):
    full = softmax(logits.tolist())
    order = sorted(range(len(logits)), key=lambda i: (-logits[i].item(), i))
    kept = order[:top_k]
    expected = torch.zeros_like(full)
    expected[kept] = full[kept] / full[kept].sum()
    probs = probabilities(logits, top_k=top_k)
    close(probs, expected)
    assert (probs > 0).sum() == len(kept)


@pytest.mark.parametrize("temperature", [1e-300, 1.0, 1e300])
def test_top_k_of_one_is_greedy_even_where_the_probabilities_round_to_the_same(temperature):
    for settings in ({"top_k": 1}, {"top_p": 1e-9}):
        close(probabilities(torch.tensor([1.0, 1.0, 3.0]), temperature, **settings), [0, 0, 1])
    close(probabilities(torch.tensor([0.0, 1e-25]), temperature, top_k=1), [0, 1])


@given(
    logits=many_logits,
    temperature=temperatures,
    top_k=st.none() | st.integers(1, 45),
    top_p=st.floats(0.001, 1),
)
@example(logits=torch.zeros(40), temperature=1.0, top_k=None, top_p=0.5)
@example(logits=torch.zeros(40), temperature=1.0, top_k=7, top_p=0.5)
def test_top_p_keeps_the_smallest_part_of_what_top_k_keeps(logits, temperature, top_k, top_p):
    full = probabilities(logits, temperature, top_k)
    probs = probabilities(logits, temperature, top_k, top_p)
    kept = probs > 0
    mass, least = full[kept].sum(), full[kept].min()
    assert mass >= top_p - TINY
    assert mass - least < top_p + TINY
    assert kept.all() or least >= full[~kept].max()
    close(probs, torch.where(kept, full / mass, 0), atol=TINY)


def test_top_p_reached_exactly_is_enough_and_one_keeps_even_tiny_tails():
    close(probabilities(torch.zeros(4), top_p=0.5), [0.5, 0.5, 0, 0])
    close(probabilities(torch.zeros(4), top_p=0.25), [1, 0, 0, 0])
    logits = torch.tensor([0.0, -50.0, -100.0, -700.0])
    for top_p, kept in ((1, 4), (1.0, 4), (0.999, 1)):
        assert (probabilities(logits, top_p=top_p) > 0).sum() == kept


# --- sampler
ONE_IN_1000 = {1: 10.8, 2: 13.8, 3: 16.3}  # degrees of freedom: bound of chi squared
ALL_AT_ONCE = {"temperature": 1.5, "top_k": 3, "top_p": 0.9}


@pytest.mark.parametrize(
    "settings", [{}, {"temperature": 3.0}, {"top_k": 3}, {"top_p": 0.9}, ALL_AT_ONCE], ids=str
)
def test_draws_with_the_right_frequencies(settings):
    seed(1)
    logits, number = torch.tensor([0.3, 1.0, -1.0, 0.0]), 4_000
    expected = number * probabilities(logits, **settings)
    pick = sampler(**settings)
    counts = torch.tensor([pick(logits) for _ in range(number)]).bincount(minlength=4)
    kept = expected > 0
    assert not counts[~kept].any(), "what is cut is never drawn"
    chi_squared = ((counts - expected)[kept] ** 2 / expected[kept]).sum()
    assert chi_squared < ONE_IN_1000[kept.sum().item() - 1]
