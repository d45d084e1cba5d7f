"""normalize, tokenize and Vocab: round trips, edges, and the order of the indices."""

from collections import Counter

from hypothesis import given
from hypothesis import strategies as st

from utils.text import Vocab, normalize, tokenize

TOKENS = ["the", "time", "machine", "by", "the", "time", "traveller"]

token_lists = st.lists(st.text(max_size=3) | st.integers() | st.tuples(st.text(max_size=2)))


# --- normalize and tokenize
def test_normalize():
    assert normalize("") == ""
    assert normalize("'Stop!' -- in 1895,\nTime a_b.") == " stop in time a b "
    assert normalize("Čapek naïve 白日依山盡") == " apek na ve "


def test_tokenize():
    assert tokenize("", "word") == tokenize("", "char") == tokenize(" \n", "word") == []
    assert tokenize("time", "word") == ["time"]
    assert tokenize("a b\nc", "word") == ["a", "b", "c"]
    assert tokenize("a b", "char") == ["a", " ", "b"]
    assert tokenize("白日，", "char") == ["白", "日", "，"]


# --- Vocab
def test_unknown_tokens_are_0():
    vocab = Vocab(TOKENS)
    assert vocab[["the", "morlock", 7, None, ("the",)]] == [1, 0, 0, 0, 0]
    assert "morlock" not in vocab and "time" in vocab
    assert "<unk>" in vocab and vocab["<unk>"] == 0
    vocab = Vocab(list("abc"), reserved_tokens=["<pad>"])
    assert vocab[["<pad>", "a", "?", "", 7]] == [1, 2, 0, 0, 0]
    for tokens in ([], (), iter(())):
        assert len(Vocab(tokens)) == 1 and Vocab(tokens)["time"] == 0
    assert Vocab([1, ("a", "b")])["time"] == 0


def test_nested_lists_keep_their_form():
    vocab = Vocab(TOKENS)
    assert vocab[[["the"], [], ["by", "time"]]] == [[1], [], [4, 2]]
    assert vocab.to_tokens([[1], [], [4, 2]]) == [["the"], [], ["by", "time"]]


@given(token_lists, st.integers(1, 3), st.sampled_from([list, tuple, iter, Counter]))
def test_indices_give_the_known_tokens_back(tokens, min_freq, kind):
    vocab = Vocab(kind(tokens), min_freq)
    counts = Counter(tokens)
    assert vocab.counts == counts, "those of rare tokens, too"
    expected = [token if counts[token] >= min_freq else "<unk>" for token in tokens]
    assert vocab.to_tokens(vocab[tokens]) == expected
    assert vocab[vocab.idx_to_token] == list(range(len(vocab)))


@given(token_lists, st.lists(st.text(max_size=3) | st.just("<unk>")))
def test_order_of_the_vocabulary(tokens, reserved_tokens):
    tokens = tokens + reserved_tokens[:2]  # in the text, too
    vocab = Vocab(tokens, reserved_tokens=reserved_tokens)
    reserved = list(dict.fromkeys(["<unk>", *reserved_tokens]))
    assert vocab.idx_to_token[: len(reserved)] == reserved
    rest = [(-vocab.counts[t], tokens.index(t)) for t in vocab.idx_to_token[len(reserved) :]]
    assert rest == sorted(rest)
    assert set(vocab) == {*tokens, *reserved} and len(vocab) == len(set(vocab))
