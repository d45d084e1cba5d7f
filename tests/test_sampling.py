"""Generation and sampling: what a setting keeps, how often a token is drawn, and bad input."""

import math

import pytest
import torch
from hypothesis import example, given, settings
from hypothesis import strategies as st
from torch import nn

from utils.models import GRUScratch, LanguageModel, LSTMScratch, RNNScratch
from utils.runtime import seed
from utils.sampling import generate, greedy, probabilities, sampler
from utils.text import Vocab

LOGITS = torch.tensor([1.0, 1.0, 3.0])
TINY = 1e-9  # room for rounding

many_logits = st.lists(st.floats(-30, 30, width=32), min_size=1, max_size=40).map(torch.tensor)
temperatures = st.floats(0.05, 20)
top_ps = st.floats(0.001, 1)


@pytest.fixture
def vocab():
    return Vocab(list("abcd"))


def scratch():
    return RNNScratch(5, 8, sigma=1.0)


MODELS = {
    "RNNScratch": scratch,
    "RNN": lambda: LanguageModel(nn.RNN(4, 8), 5),
    "deep GRU": lambda: LanguageModel(nn.GRU(4, 8, num_layers=2), 5),
    "LSTM": lambda: LanguageModel(nn.LSTM(4, 8), 5),
    "GRUScratch": lambda: LanguageModel(GRUScratch(4, 8), 5),
    "LSTMScratch": lambda: LanguageModel(LSTMScratch(4, 8), 5),
}
models = pytest.mark.parametrize("name", MODELS)


def build(name):
    torch.manual_seed(0)
    model = MODELS[name]().double()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.normal_()
    return model


@pytest.fixture
def model():
    return build("RNNScratch")


def softmax(logits, temperature=1.0):
    """Return the probabilities in double precision, by the formula."""
    powers = [math.exp((x - max(logits)) / temperature) for x in logits]
    return torch.tensor([power / sum(powers) for power in powers], dtype=torch.float64)


def close(actual, expected, atol=1e-12):
    expected = torch.as_tensor(expected, dtype=torch.float64)
    torch.testing.assert_close(actual, expected, rtol=0, atol=atol)


# --- generate --------------------------------------------------------------------------------


@models
def test_keeps_the_prefix_and_adds_as_many_as_asked(name, vocab):
    text = generate(build(name), vocab, "abca", 7)
    assert text.startswith("abca")
    assert len(text.replace("<unk>", "?")) == 4 + 7


def read_again(model, vocab, prefix, num_tokens, pick):
    """Return what generate should: the whole text is read anew for each character."""
    ids = vocab[list(prefix)]
    for _ in range(num_tokens):
        with torch.no_grad():
            logits, _ = model(torch.tensor([ids]))
        ids.append(pick(logits[-1, 0]))
    return "".join(vocab.to_tokens(ids))


@models
@pytest.mark.parametrize("prefix", ["a", "abca"])
def test_equals_reading_the_whole_text_again_for_each_character(name, vocab, prefix):
    model = build(name)
    expected = read_again(model, vocab, prefix, 12, lambda logits: logits.argmax().item())
    assert generate(model, vocab, prefix, 12) == expected


@models
@pytest.mark.parametrize("settings", [{}, {"temperature": 2.0}, {"top_k": 3, "top_p": 0.9}])
def test_sampling_equals_reading_the_whole_text_again(name, vocab, settings):
    model, texts = build(name), set()
    for number in range(5):
        seed(number)
        text = generate(model, vocab, "ab", 20, pick=sampler(**settings))
        seed(number)
        assert text == read_again(model, vocab, "ab", 20, sampler(**settings))
        texts.add(text)
    assert len(texts) > 1


def test_pick_chooses_and_sees_logits_of_one_token(model, vocab):
    shapes = []

    def pick(logits):
        shapes.append(logits.shape)
        return vocab["d"]

    assert generate(model, vocab, "a", 3, pick=pick) == "addd"
    assert shapes == [(5,)] * 3


def test_greedy_takes_the_largest():
    assert greedy(torch.tensor([0.1, 2.0, -1.0])) == 1


def test_unknown_characters_are_read_as_unk(model, vocab):
    assert generate(model, vocab, "a?", 1).startswith("a<unk>")


@models
def test_builds_no_graph_and_leaves_the_same_parameters(name, vocab):
    model = build(name)
    before = [p.clone() for p in model.parameters()]
    graphs, pick = [], sampler()

    def watch(logits):
        graphs.append(logits.requires_grad)
        return pick(logits)

    generate(model, vocab, "a", 2, pick=watch)
    assert graphs == [False, False]
    assert all(p.grad is None for p in model.parameters())
    assert all(map(torch.equal, before, model.parameters()))


def test_writes_without_dropout_and_leaves_the_model_in_evaluation(vocab):
    torch.manual_seed(0)
    model = LanguageModel(nn.GRU(4, 8), 5, dropout=0.5)
    modes = []
    model.register_forward_hook(lambda module, args, out: modes.append(module.training))
    texts = {generate(model.train(), vocab, "ab", 20) for _ in range(5)}
    assert len(texts) == 1 and not any(modes) and not model.training


@pytest.mark.parametrize(
    ("prefix", "num_tokens", "error", "named"),
    [
        ("", 3, ValueError, "prefix must hold at least one token"),
        ([], 3, ValueError, "prefix must hold at least one token"),
        ("a", 0, ValueError, "num_tokens must be a positive integer, got 0"),
        ("a", -2, ValueError, "num_tokens must be a positive integer, got -2"),
        ("a", 2.0, TypeError, "num_tokens must be a positive integer, got 2.0"),
        ("a", True, TypeError, "num_tokens must be a positive integer, got True"),
        ("a", "2", TypeError, "num_tokens must be a positive integer, got '2'"),
    ],
)
def test_bad_input_names_the_argument(model, vocab, prefix, num_tokens, error, named):
    with pytest.raises(error, match=named):
        generate(model, vocab, prefix, num_tokens)


# --- temperature -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("temperature", "published"),
    [
        (1.0, [0.1065, 0.1065, 0.7870]),
        (2.0, [0.2119, 0.2119, 0.5761]),
        (10.0, [0.3104, 0.3104, 0.3792]),
    ],
)
def test_published_values(temperature, published):
    close(probabilities(LOGITS, temperature), published, atol=5e-5)


@given(logits=many_logits, temperature=temperatures, top_p=top_ps, top_k=st.integers(1, 50))
def test_sums_to_one_and_is_never_negative(logits, temperature, top_p, top_k):
    probs = probabilities(logits, temperature, top_k, top_p)
    assert probs.shape == logits.shape and probs.dtype == torch.float64
    assert (probs >= 0).all()
    assert probs.sum().item() == pytest.approx(1, abs=TINY)


@given(logits=many_logits, temperature=temperatures)
def test_with_nothing_cut_is_the_softmax(logits, temperature):
    close(probabilities(logits), softmax(logits.tolist()))
    close(probabilities(logits, temperature), softmax(logits.tolist(), temperature))


@given(
    logits=st.lists(st.integers(-300, 300), min_size=2, max_size=20, unique=True),
    random=st.randoms(use_true_random=False),
    top_k=st.none() | st.integers(1, 25),
    top_p=top_ps,
)
def test_order_of_the_vocabulary_does_not_matter(logits, random, top_k, top_p):
    """Logits without ties, and a top_p that is not the sum of a few of them."""
    logits = torch.tensor(logits) / 10
    order = torch.tensor(random.sample(range(len(logits)), len(logits)))
    probs = probabilities(logits, 1.5, top_k, top_p)
    close(probabilities(logits[order], 1.5, top_k, top_p), probs[order])


@given(logits=many_logits, shift=st.integers(-1000, 1000))
def test_adding_a_number_to_all_logits_changes_nothing(logits, shift):
    logits = logits.double()
    close(probabilities(logits + shift, 0.7), probabilities(logits, 0.7), atol=1e-10)


def test_low_temperature_comes_near_greedy_and_high_near_uniform():
    logits = torch.tensor([0.5, 2.0, -1.0, 1.9])
    largest = [probabilities(logits, t)[greedy(logits)].item() for t in (10, 1, 0.1, 0.01, 0.001)]
    assert largest == sorted(largest) and largest[-1] == 1
    close(probabilities(logits, 1e9), [0.25] * 4, atol=1e-8)


@pytest.mark.parametrize("dtype", [torch.float16, torch.float32, torch.float64])
@pytest.mark.parametrize("settings", [{}, {"top_k": 2}, {"top_p": 0.9}, {"top_k": 2, "top_p": 0.4}])
def test_extreme_temperatures_and_logits_give_numbers(dtype, settings):
    huge = torch.finfo(dtype).max
    for temperature in (5e-324, 1e-300, 1e-3, 1, 1e300, 1.7e308):
        for logits in ([1, 3, 2], [huge, -huge, 0], [-huge, -huge, -math.inf], [1e-7, 0, 0]):
            probs = probabilities(torch.tensor(logits, dtype=dtype), temperature, **settings)
            assert probs.isfinite().all()
            assert probs.sum().item() == pytest.approx(1)


def test_extreme_temperatures_are_greedy_and_uniform():
    close(probabilities(LOGITS, 1e-300), [0, 0, 1])
    close(probabilities(LOGITS, 1e300), [1 / 3] * 3)
    close(probabilities(torch.tensor([3.0, 1.0, 3.0]), 1e-300), [0.5, 0, 0.5])


def test_whole_numbers_will_do_as_settings():
    assert torch.equal(probabilities(LOGITS, 2, 3, 1), probabilities(LOGITS, 2.0))
    assert torch.equal(probabilities(LOGITS.long()), probabilities(LOGITS))


def test_half_precision_is_read_exactly():
    """60,000 and −60,000 are further apart than the largest float16."""
    logits = torch.tensor([60_000.0, -60_000.0], dtype=torch.float16)
    close(probabilities(logits, 1e5), softmax(logits.tolist(), 1e5))
    for dtype in (torch.float16, torch.float32):
        logits = torch.tensor([0.1, -2.3, 4.7, 0.0], dtype=dtype)
        close(probabilities(logits, 0.7), softmax(logits.tolist(), 0.7))


@pytest.mark.parametrize("settings", [{}, {"top_k": 3}, {"top_p": 0.99}, {"temperature": 1e300}])
def test_a_logit_of_minus_infinity_is_never_kept(settings):
    probs = probabilities(torch.tensor([1.0, -math.inf, 1.0, -math.inf]), **settings)
    close(probs, [0.5, 0, 0.5, 0])


def test_logits_are_left_alone():
    logits = LOGITS.double()
    probabilities(logits, 0.5, 2, 0.5)
    assert torch.equal(logits, LOGITS.double())


# --- top_k and top_p -------------------------------------------------------------------------


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


def test_top_k_of_equals_in_a_long_vocabulary():
    logits = torch.zeros(5_000)
    logits[2_500] = 1
    probs = probabilities(logits, top_k=11)
    assert probs.nonzero().flatten().tolist() == [*range(10), 2_500]


@pytest.mark.parametrize("top_k", [3, 4, 10**9])
def test_top_k_of_the_whole_vocabulary_changes_nothing(top_k):
    assert torch.equal(probabilities(LOGITS, 0.7, top_k), probabilities(LOGITS, 0.7))


@pytest.mark.parametrize("temperature", [1e-300, 1.0, 1e300])
def test_top_k_of_one_is_greedy_even_where_the_probabilities_round_to_the_same(temperature):
    close(probabilities(LOGITS, temperature, top_k=1), [0, 0, 1])
    close(probabilities(LOGITS, temperature, top_p=1e-9), [0, 0, 1])
    close(probabilities(torch.tensor([0.0, 1e-25]), temperature, top_k=1), [0, 1])


def check_nucleus(full, probs, top_p):
    """Assert that probs is the smallest most probable part of full with at least top_p."""
    kept = probs > 0
    mass, least = full[kept].sum(), full[kept].min()
    assert kept.any()
    assert mass >= top_p - TINY
    assert mass - least < top_p + TINY
    assert kept.all() or least >= full[~kept].max()
    close(probs, torch.where(kept, full / mass, 0), atol=TINY)


@given(logits=many_logits, temperature=temperatures, top_p=top_ps)
@example(logits=torch.zeros(40), temperature=1.0, top_p=0.5)
def test_top_p_keeps_the_smallest_set_that_reaches_p(logits, temperature, top_p):
    probs = probabilities(logits, temperature, top_p=top_p)
    check_nucleus(softmax(logits.tolist(), temperature), probs, top_p)


@given(logits=many_logits, temperature=temperatures, top_k=st.integers(1, 45), top_p=top_ps)
def test_top_p_is_a_share_of_what_top_k_keeps(logits, temperature, top_k, top_p):
    after_k = probabilities(logits, temperature, top_k)
    check_nucleus(after_k, probabilities(logits, temperature, top_k, top_p), top_p)


def test_top_p_by_hand():
    logits = torch.tensor([0.1, 0.4, 0.2, 0.3]).log()
    for top_p, expected in [
        (0.05, [0, 1, 0, 0]),
        (0.39, [0, 1, 0, 0]),
        (0.41, [0, 4 / 7, 0, 3 / 7]),
        (0.69, [0, 4 / 7, 0, 3 / 7]),
        (0.71, [0, 4 / 9, 2 / 9, 3 / 9]),
        (0.95, [0.1, 0.4, 0.2, 0.3]),
    ]:
        close(probabilities(logits, top_p=top_p), expected, atol=1e-6)
    # the three that top_k keeps have 4/9, 3/9 and 2/9: one more is needed than of the whole
    close(probabilities(logits, top_k=3, top_p=0.42), [0, 1, 0, 0], atol=1e-6)
    close(probabilities(logits, top_k=3, top_p=0.75), [0, 4 / 7, 0, 3 / 7], atol=1e-6)


def test_top_p_reached_exactly_is_enough():
    close(probabilities(torch.zeros(4), top_p=0.5), [0.5, 0.5, 0, 0])
    close(probabilities(torch.zeros(4), top_p=0.25), [1, 0, 0, 0])


def test_top_p_of_one_keeps_even_tiny_tails():
    logits = torch.tensor([0.0, -50.0, -100.0, -700.0])
    assert (probabilities(logits, top_p=1) > 0).all()
    assert (probabilities(logits, top_p=1.0) > 0).all()
    assert (probabilities(logits, top_p=0.999) > 0).sum() == 1


# --- sampler ---------------------------------------------------------------------------------


def draws(pick, logits, number):
    return torch.tensor([pick(logits) for _ in range(number)])


ONE_IN_1000 = {1: 10.8, 2: 13.8, 3: 16.3}  # degrees of freedom: bound of chi squared


@pytest.mark.parametrize(
    "settings",
    [
        {},
        {"temperature": 3.0},
        {"temperature": 0.5},
        {"top_k": 3},
        {"top_p": 0.9},
        {"temperature": 2.0, "top_k": 2},
        {"temperature": 3.0, "top_p": 0.8},
        {"top_k": 3, "top_p": 0.85},
        {"temperature": 1.5, "top_k": 3, "top_p": 0.9},
    ],
    ids=str,
)
def test_draws_with_the_right_frequencies(settings):
    seed(1)
    logits, number = torch.tensor([0.3, 1.0, -1.0, 0.0]), 4_000
    expected = number * probabilities(logits, **settings)
    counts = draws(sampler(**settings), logits, number).bincount(minlength=4)
    kept = expected > 0
    assert not counts[~kept].any(), "what is cut is never drawn"
    chi_squared = ((counts - expected)[kept] ** 2 / expected[kept]).sum()
    assert chi_squared < ONE_IN_1000[kept.sum().item() - 1]


@settings(max_examples=25)
@given(
    logits=st.lists(st.floats(-2, 2), min_size=2, max_size=6).map(torch.tensor),
    temperature=st.floats(0.3, 3),
    top_k=st.integers(1, 8),
    top_p=st.floats(0.3, 1),
    number=st.integers(0, 9),
)
def test_draws_match_the_probabilities_of_any_setting(logits, temperature, top_k, top_p, number):
    """Each count is within five standard deviations, and three where next to none is expected."""
    seed(number)
    probs = probabilities(logits, temperature, top_k, top_p)
    drawn = draws(sampler(temperature, top_k, top_p), logits, 1_000)
    distance = (drawn.bincount(minlength=len(logits)) - 1_000 * probs).abs()
    assert (distance <= 5 * (1_000 * probs * (1 - probs)).sqrt() + 3 * (probs > 0)).all()


def test_frequencies_of_two_settings_can_be_told_apart():
    """The bound above refuses draws at another temperature."""
    seed(1)
    logits, number = torch.tensor([0.3, 1.0, -1.0, 0.0]), 4_000
    expected = number * probabilities(logits, 1.3)
    counts = draws(sampler(), logits, number).bincount(minlength=4)
    assert ((counts - expected) ** 2 / expected).sum() > 50


def test_one_seed_one_sequence():
    logits, pick = torch.zeros(50), sampler()
    sequences = []
    for number in (7, 7, 8):
        seed(number)
        sequences.append(draws(pick, logits, 20))
    assert torch.equal(sequences[0], sequences[1])
    assert not torch.equal(sequences[0], sequences[2])


def test_picks_are_whole_numbers_of_python():
    for dtype in (torch.float16, torch.float32, torch.float64):
        pick = sampler(temperature=1e-300)(LOGITS.to(dtype))
        assert type(pick) is int and pick == 2


def test_logits_that_carry_a_gradient_are_drawn_from():
    assert sampler(top_k=1)(LOGITS.clone().requires_grad_()) == 2


# --- bad settings ----------------------------------------------------------------------------


@pytest.mark.parametrize("entry", [lambda **bad: probabilities(LOGITS, **bad), sampler])
@pytest.mark.parametrize(
    ("name", "value", "error", "expected"),
    [
        ("temperature", 0, ValueError, "must be above 0 and finite, got 0"),
        ("temperature", 0.0, ValueError, "must be above 0 and finite, got 0.0"),
        ("temperature", -1, ValueError, "must be above 0 and finite, got -1"),
        ("temperature", math.nan, ValueError, "must be above 0 and finite, got nan"),
        ("temperature", math.inf, ValueError, "must be above 0 and finite, got inf"),
        ("temperature", "1", TypeError, "must be a number, got '1'"),
        ("temperature", True, TypeError, "must be a number, got True"),
        ("temperature", None, TypeError, "must be a number, got None"),
        ("top_p", 0, ValueError, r"must be in \(0, 1\], got 0"),
        ("top_p", -0.1, ValueError, r"must be in \(0, 1\], got -0.1"),
        ("top_p", 1.1, ValueError, r"must be in \(0, 1\], got 1.1"),
        ("top_p", math.nan, ValueError, r"must be in \(0, 1\], got nan"),
        ("top_p", math.inf, ValueError, r"must be in \(0, 1\], got inf"),
        ("top_p", "0.9", TypeError, "must be a number, got '0.9'"),
        ("top_p", True, TypeError, "must be a number, got True"),
        ("top_p", None, TypeError, "must be a number, got None"),
        ("top_k", 0, ValueError, "must be a positive integer, got 0"),
        ("top_k", -1, ValueError, "must be a positive integer, got -1"),
        ("top_k", 1.5, TypeError, "must be a positive integer, got 1.5"),
        ("top_k", 2.0, TypeError, "must be a positive integer, got 2.0"),
        ("top_k", True, TypeError, "must be a positive integer, got True"),
        ("top_k", "2", TypeError, "must be a positive integer, got '2'"),
    ],
)
def test_bad_settings_name_the_argument_at_once(entry, name, value, error, expected):
    with pytest.raises(error, match=f"{name} {expected}"):
        entry(**{name: value})
