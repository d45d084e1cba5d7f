"""Generation: warm-up, feeding back, and bad input."""

import pytest
import torch

from utils.models import RNNScratch
from utils.sampling import generate, greedy
from utils.text import Vocab


@pytest.fixture
def vocab():
    return Vocab(list("abcd"))


@pytest.fixture
def model(vocab):
    torch.manual_seed(0)
    return RNNScratch(len(vocab), 8, sigma=1.0)


def test_keeps_the_prefix_and_adds_as_many_as_asked(model, vocab):
    text = generate(model, vocab, "abca", 7)
    assert text.startswith("abca")
    assert len(text.replace("<unk>", "?")) == 4 + 7


def test_equals_reading_the_whole_text_again_for_each_character(model, vocab):
    ids = vocab[list("abca")]
    for _ in range(12):
        logits, _ = model(torch.tensor([ids]))
        ids.append(logits[-1, 0].argmax().item())
    assert generate(model, vocab, "abca", 12) == "".join(vocab.to_tokens(ids))


def test_pick_chooses(model, vocab):
    assert generate(model, vocab, "a", 3, pick=lambda logits: vocab["d"]) == "addd"


def test_greedy_takes_the_largest():
    assert greedy(torch.tensor([0.1, 2.0, -1.0])) == 1


def test_unknown_characters_are_read_as_unk(model, vocab):
    assert generate(model, vocab, "a?", 1).startswith("a<unk>")


def test_leaves_no_gradient(model, vocab):
    generate(model, vocab, "a", 2)
    assert all(p.grad is None for p in model.parameters())


@pytest.mark.parametrize(
    ("prefix", "num_tokens", "error", "named"),
    [
        ("", 3, ValueError, "prefix"),
        ("a", 0, ValueError, "num_tokens"),
        ("a", -2, ValueError, "num_tokens"),
        ("a", 2.0, TypeError, "num_tokens"),
    ],
)
def test_bad_input_names_the_argument(model, vocab, prefix, num_tokens, error, named):
    with pytest.raises(error, match=named):
        generate(model, vocab, prefix, num_tokens)
