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


def test_reserved_tokens_follow_the_unknown_and_keep_their_places():
    special = ["<pad>", "<bos>"]
    assert Vocab([], reserved_tokens=special).idx_to_token == ["<unk>", *special]
    for tokens in (TOKENS, ["<bos>", "<bos>", *TOKENS, "<unk>", "<pad>"]):
        vocab = Vocab(tokens, reserved_tokens=tuple(special))
        assert vocab.idx_to_token == ["<unk>", *special, *Vocab(TOKENS).idx_to_token[1:]]
    assert Vocab([], reserved_tokens=["a", "<unk>", "a"]).idx_to_token == ["<unk>", "a"]


def test_tuples_are_single_tokens():
    pairs = [("the", "time"), ("time", "machine"), ("the", "time")]
    vocab = Vocab(pairs)
    assert vocab["the", "time"] == 1 and vocab[pairs] == [1, 2, 1]
    assert vocab["time", "the"] == 0 and vocab[()] == 0
    assert vocab.to_tokens([1, 2]) == pairs[:2]


def test_any_ordered_iterable_of_tokens():
    expected = Vocab(TOKENS).idx_to_token
    for tokens in (tuple(TOKENS), iter(TOKENS), (token for token in TOKENS), Counter(TOKENS)):
        assert Vocab(tokens).idx_to_token == expected


@given(token_lists, st.integers(1, 3))
def test_indices_give_the_known_tokens_back(tokens, min_freq):
    vocab = Vocab(tokens, min_freq)
    counts = Counter(tokens)
    assert vocab.counts == counts, "those of rare tokens, too"
    expected = [token if counts[token] >= min_freq else "<unk>" for token in tokens]
    assert vocab.to_tokens(vocab[tokens]) == expected
    assert vocab[vocab.idx_to_token] == list(range(len(vocab)))


@given(token_lists, st.lists(st.text(max_size=3)))
def test_order_of_the_vocabulary(tokens, reserved_tokens):
    vocab = Vocab(tokens, reserved_tokens=reserved_tokens)
    reserved = list(dict.fromkeys(["<unk>", *reserved_tokens]))
    assert vocab.idx_to_token[: len(reserved)] == reserved
    rest = [(-vocab.counts[t], tokens.index(t)) for t in vocab.idx_to_token[len(reserved) :]]
    assert rest == sorted(rest)
    assert set(vocab) == {*tokens, *reserved}
