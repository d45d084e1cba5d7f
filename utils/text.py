"""From text to indices: normalize, tokenize, Vocab."""

import re
from collections import Counter
from collections.abc import Iterable

from utils.runtime import check_positive


def check_text(text):
    """Raise TypeError unless text is a string."""
    if not isinstance(text, str):
        raise TypeError(f"text must be a string, got {type(text).__name__}")


def check_tokens(**named):
    """Raise TypeError, naming the argument, unless each value holds tokens in a fixed order.

    A string would count as its characters, and a set has another order in every process: both are
    refused. Every token of a list or a tuple must be hashable.
    """
    for name, value in named.items():
        got = type(value).__name__
        if isinstance(value, str | bytes | set | frozenset) or not isinstance(value, Iterable):
            raise TypeError(f"{name} must be a list of tokens (or an ordered iterable), got {got}")
        try:
            set(value if isinstance(value, list | tuple) else ())
        except TypeError as error:
            raise TypeError(f"{name} must be a flat {got} of hashable tokens: {error}") from error


def normalize(text):
    """Lower-case the text and turn each run of characters outside A–Z into one space.

    Raises TypeError when text is not a string.
    """
    check_text(text)
    return re.sub("[^A-Za-z]+", " ", text).lower()


def tokenize(text, kind):
    """Split a string into a list of tokens: kind "word" at white space, kind "char" everywhere.

    Raises TypeError when text is not a string, ValueError on another kind.
    """
    check_text(text)
    if kind not in ("word", "char"):
        raise ValueError(f"kind must be 'word' or 'char', got {kind!r}")
    return text.split() if kind == "word" else list(text)


class Vocab:
    """A two-way map between tokens and indices: <unk> is 0, then reserved, then by frequency.

    tokens: any hashables in order, tuples included, or a Counter of them; tokens seen fewer than
    min_freq times are left out. Ties keep the order of first appearance, so the same tokens always
    give the same indices. ``counts`` holds every token's count, rare ones too; ``idx_to_token`` and
    ``token_to_idx`` are the map. Raises TypeError or ValueError that names the argument.
    """

    def __init__(self, tokens, min_freq=1, reserved_tokens=()):
        check_positive(min_freq=min_freq)
        check_tokens(tokens=tokens, reserved_tokens=reserved_tokens)
        self.counts = Counter(tokens)
        kept = [token for token, count in self.counts.most_common() if count >= min_freq]
        self.idx_to_token = list(dict.fromkeys(["<unk>", *reserved_tokens, *kept]))
        self.token_to_idx = {token: idx for idx, token in enumerate(self.idx_to_token)}

    def __len__(self):
        return len(self.idx_to_token)

    def __contains__(self, token):
        return token in self.token_to_idx

    def __iter__(self):
        return iter(self.idx_to_token)

    def __getitem__(self, tokens):
        """Return the index of one token (0 when unknown), or the indices of a list of tokens."""
        if isinstance(tokens, list):
            return [self[token] for token in tokens]
        return self.token_to_idx.get(tokens, 0)

    def to_tokens(self, indices):
        """Return the token at one index, or the tokens of a list; IndexError outside the range."""
        if isinstance(indices, list):
            return [self.to_tokens(idx) for idx in indices]
        if not isinstance(indices, int) or not 0 <= indices < len(self):
            raise IndexError(f"indices must be ints in 0..{len(self) - 1}, got {indices!r}")
        return self.idx_to_token[indices]
