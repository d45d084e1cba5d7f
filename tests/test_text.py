"""normalize, tokenize and Vocab: round trips, edges, errors, and what the books get wrong."""

import http.server
import os
import re
import subprocess
import sys
import threading
from collections import Counter
from pathlib import Path

import pytest
import requests
import torch
from hypothesis import given
from hypothesis import strategies as st

from utils import d2l, datasets
from utils.text import Vocab, normalize, tokenize

ROOT = Path(__file__).parent.parent
TIME_MACHINE_SHA1 = "090b5e7e70c295757f55df93cb0a180b9691891a"
TOKENS = ["the", "time", "machine", "by", "the", "time", "traveller"]

token_lists = st.lists(st.text(max_size=3) | st.integers() | st.tuples(st.text(max_size=2)))


@pytest.fixture(scope="module")
def book():
    """The text of the real Time Machine, or a skipped test."""
    if not datasets.locate("time_machine"):
        pytest.skip("The Time Machine is not there")
    return datasets.load_text("time_machine").text


@pytest.fixture(scope="module")
def poems():
    """The text of the real Three Hundred Tang Poems, or a skipped test."""
    if not datasets.locate("tang_poems"):
        pytest.skip("Three Hundred Tang Poems are not there")
    return datasets.load_text("tang_poems").text


# --- normalize and tokenize ------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "clean"),
    [
        ("", ""),
        ("a", "a"),
        ("Time\nMachine", "time machine"),
        ("'Stop!' -- in 1895.", " stop in "),
        ("a_b", "a b"),
        ("Čapek naïve", " apek na ve"),
        ("白日依山盡", " "),
    ],
)
def test_normalize(text, clean):
    assert normalize(text) == clean


@given(st.text())
def test_normalize_leaves_letters_and_single_spaces(text):
    clean = normalize(text)
    assert set(clean) <= set("abcdefghijklmnopqrstuvwxyz ")
    assert "  " not in clean
    assert normalize(clean) == clean


def test_tokenize():
    assert tokenize("", "word") == tokenize("", "char") == tokenize(" \n", "word") == []
    assert tokenize("time", "word") == ["time"]
    assert tokenize("a b\nc", "word") == ["a", "b", "c"]
    assert tokenize("a b", "char") == ["a", " ", "b"]
    assert tokenize("白日，", "char") == ["白", "日", "，"]


@given(st.text())
def test_tokens_give_the_text_back(text):
    assert "".join(tokenize(text, "char")) == text
    assert " ".join(tokenize(normalize(text), "word")) == normalize(text).strip()


@pytest.mark.parametrize("wrong", [None, 1, b"time", ["time"]])
def test_text_must_be_a_string(wrong):
    message = f"text must be a string, got {type(wrong).__name__}"
    with pytest.raises(TypeError, match=message):
        normalize(wrong)
    with pytest.raises(TypeError, match=message):
        tokenize(wrong, "char")


@pytest.mark.parametrize("wrong", ["words", "", None, 1])
def test_kind_must_be_word_or_char(wrong):
    with pytest.raises(ValueError, match=f"kind must be 'word' or 'char', got {wrong!r}"):
        tokenize("time", wrong)


# --- Vocab -----------------------------------------------------------------------------------


def test_unknown_then_by_frequency_then_by_first_appearance():
    assert Vocab(TOKENS).idx_to_token == ["<unk>", "the", "time", "machine", "by", "traveller"]
    assert Vocab(["b", "a", "c", "a"]).idx_to_token == ["<unk>", "a", "b", "c"]
    assert Vocab(["c", "a", "b"]).idx_to_token == ["<unk>", "c", "a", "b"]


@pytest.mark.parametrize("tokens", [[], (), iter(())])
def test_no_tokens(tokens):
    vocab = Vocab(tokens)
    assert len(vocab) == 1 and vocab[[]] == [] and vocab.to_tokens([]) == []
    assert vocab["time"] == 0 and vocab.to_tokens(0) == "<unk>"


def test_one_token():
    vocab = Vocab(["time"])
    assert vocab["time"] == 1 and vocab.to_tokens([1]) == ["time"]


def test_unknown_tokens_are_0():
    vocab = Vocab(TOKENS)
    assert vocab[["the", "morlock", 7, None, ("the",)]] == [1, 0, 0, 0, 0]
    assert "morlock" not in vocab and vocab["<unk>"] == 0


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


def test_min_freq_leaves_out_rare_tokens_and_keeps_their_counts():
    vocab = Vocab(TOKENS, min_freq=2, reserved_tokens=["<pad>"])
    assert vocab.idx_to_token == ["<unk>", "<pad>", "the", "time"]
    assert vocab["machine"] == 0 and vocab.counts == Counter(TOKENS)
    assert len(Vocab(TOKENS, min_freq=3)) == 1


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


def test_len_in_and_for():
    vocab = Vocab(TOKENS)
    assert len(vocab) == 6 and "time" in vocab and 3 not in vocab
    assert list(vocab) == vocab.idx_to_token


@given(token_lists, st.integers(1, 3))
def test_indices_give_the_known_tokens_back(tokens, min_freq):
    vocab = Vocab(tokens, min_freq)
    counts = Counter(tokens)
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


def test_same_indices_in_another_process():
    vocab = Vocab(list("the time machine"), reserved_tokens=["<pad>"])
    code = "from utils.text import Vocab; v = Vocab(list('the time machine'), 1, ['<pad>'])"
    code += "; print(v.idx_to_token)"
    printed = subprocess.run(
        [sys.executable, "-c", code],
        cwd=ROOT,
        env={**os.environ, "PYTHONHASHSEED": "1"},
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    assert printed == f"{vocab.idx_to_token}\n"


@pytest.mark.parametrize("wrong", [None, 3, "the time", b"time", {"a"}, frozenset("a")])
def test_tokens_must_be_in_an_order(wrong):
    message = f"must be a list of tokens .*, got {type(wrong).__name__}"
    with pytest.raises(TypeError, match=f"^tokens {message}"):
        Vocab(wrong)
    with pytest.raises(TypeError, match=f"^reserved_tokens {message}"):
        Vocab([], reserved_tokens=wrong)


def test_tokens_must_be_hashable():
    with pytest.raises(TypeError, match=r"tokens must be a flat list of hashable tokens: .*'list'"):
        Vocab([["the", "time"], ["machine"]])
    with pytest.raises(TypeError, match="reserved_tokens must be a flat tuple of hashable tokens"):
        Vocab([], reserved_tokens=({},))


@pytest.mark.parametrize(("wrong", "error"), [(0, ValueError), (-1, ValueError), (1.5, TypeError)])
def test_min_freq_must_be_positive(wrong, error):
    with pytest.raises(error, match=f"min_freq must be a positive integer, got {wrong}"):
        Vocab(TOKENS, min_freq=wrong)


@pytest.mark.parametrize("wrong", [-1, 6, 1.0, "1", None, torch.tensor([1, 2])])
def test_indices_must_be_in_the_range(wrong):
    vocab = Vocab(TOKENS)
    message = re.escape(f"indices must be ints in 0..5, got {wrong!r}")
    for indices in (wrong, [wrong], [[1], [wrong]]):
        with pytest.raises(IndexError, match=message):
            vocab.to_tokens(indices)


# --- Facts of the corpora --------------------------------------------------------------------


def test_the_time_machine(book):
    text = normalize(book)
    words, chars = tokenize(text, "word"), tokenize(text, "char")
    assert len(book.splitlines()) == 3221
    assert (len(words), len(set(words)), len(chars)) == (32_775, 4579, 173_428)
    assert len(Vocab(words)) == 4580 and len(Vocab(chars)) == 28
    assert Vocab(words).to_tokens([1, 2, 3, 4]) == ["the", "i", "and", "of"]


def test_tang_poems(poems):
    vocab = Vocab(tokenize(poems, "char"))
    assert (len(poems), len(vocab.counts), len(poems.splitlines())) == (23_776, 2543, 320)
    assert "".join(vocab.to_tokens(vocab[list(poems)])) == poems


# --- What the books get wrong (chapter 02) ---------------------------------------------------


def glue_lines(text):
    """Clean line by line and glue the lines, as d2l 0.17 makes its corpus of characters."""
    lines = [re.sub("[^A-Za-z]+", " ", line).strip().lower() for line in text.splitlines()]
    return "".join(char for line in lines for char in line)


def test_d2l_0_17_loses_the_space_between_lines_and_normalize_does_not():
    text = "Time\nMachine"
    assert glue_lines(text) == "timemachine"
    assert normalize(text) == "time machine"


def test_d2l_0_17_loses_2847_spaces_of_the_book(book):
    text, glued = normalize(book), glue_lines(book)
    assert (len(text), len(glued)) == (173_428, 170_580)
    assert len(text.split()) - len(glued.split()) == 2847
    assert "h g wellsithe time" in glued and "h g wells i the time" in text


def test_d2l_sorts_by_the_alphabet_and_vocab_by_frequency():
    chars = list("the time machine")
    theirs, ours = d2l.Vocab(chars), Vocab(chars)
    assert theirs.idx_to_token == sorted(theirs.idx_to_token)
    assert ours.idx_to_token[:5] == ["<unk>", "e", "t", "h", " "]


def test_d2l_moves_the_unknown_and_vocab_keeps_it_at_0():
    chars = list("the time machine")
    assert d2l.Vocab(chars)["<unk>"] == 1
    assert Vocab(chars)["<unk>"] == 0


def test_d2l_fails_on_a_list_of_one_index_and_vocab_does_not():
    with pytest.raises(TypeError, match="list indices must be integers"):
        d2l.Vocab(TOKENS).to_tokens([3])
    assert Vocab(TOKENS).to_tokens([3]) == ["machine"]


def test_d2l_fails_on_tuples_as_tokens_and_vocab_does_not():
    pairs = [("the", "time"), ("time", "machine")]
    with pytest.raises(TypeError, match="'<' not supported"):
        d2l.Vocab(pairs)
    theirs = d2l.Vocab()
    theirs.token_to_idx["the", "time"] = 1  # as d2l 0.17, which does not sort, would hold it
    assert theirs["the", "time"] == [0, 0]
    assert Vocab(pairs)["the", "time"] == 1


@pytest.fixture(params=[404, 200])
def url(request, monkeypatch):
    """The address of a local server that answers every request with a wrong page."""

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            self.send_response(request.param)
            self.end_headers()
            self.wfile.write(b"<h1>Please log in</h1>")

        def log_message(self, *args):
            """Keep the test's output clean."""

    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}/timemachine.txt"
        server.shutdown()


def test_d2l_saves_a_wrong_page_and_fetch_does_not(url, tmp_path, monkeypatch):
    saved = Path(d2l.download(url, tmp_path / "d2l", TIME_MACHINE_SHA1))
    assert saved.read_text() == "<h1>Please log in</h1>"
    monkeypatch.setenv("COURSE_DATA", "")
    monkeypatch.setenv("COURSE_CACHE", str(tmp_path / "cache"))
    get = requests.get
    monkeypatch.setattr(requests, "get", lambda _, **options: get(url, **options))
    with pytest.raises(datasets.DataError, match=r"HTTP 404|hash"):
        datasets.fetch("time_machine")
    assert not list((tmp_path / "cache").rglob("*.txt"))
