"""From text to indices: normalize, tokenize, Vocab."""

import re
from collections import Counter

from utils import checks


def normalize(text):
    """Lower-case the text and turn each run of characters outside A–Z into one space.

    Raises TypeError when text is not a string.
    """
    checks.check_text(text)
    return re.sub("[^A-Za-z]+", " ", text).lower()


def tokenize(text, kind):
    """Split a string into a list of tokens: kind "word" at white space, kind "char" everywhere.

    Raises TypeError when text is not a string, ValueError on another kind.
    """
    checks.check_text(text, kind)
    return text.split() if kind == "word" else list(text)


class Vocab:
    """A two-way map between tokens and indices: <unk> is 0, then reserved, then by frequency.

    tokens: any hashables in order, tuples included, or a Counter of them; tokens seen fewer than
    min_freq times are left out. Ties keep the order of first appearance, so the same tokens always
    give the same indices. ``counts`` holds every token's count, rare ones too; ``idx_to_token`` and
    ``token_to_idx`` are the map. Raises TypeError or ValueError that names the argument.
    """

    def __init__(self, tokens, min_freq=1, reserved_tokens=()):
        checks.check_positive(min_freq=min_freq)
        checks.check_tokens(tokens=tokens, reserved_tokens=reserved_tokens)
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
        """Return the index of one token (0 when unknown), or the indices of a list of tokens.

        ``vocab[["the", "time"]]`` → ``[1, 2]``, a tuple is one token. Raises TypeError for a slice,
        a tensor or a generator, ValueError for a word where all tokens are characters.
        """
        if isinstance(tokens, list):
            return [self[token] for token in tokens]
        checks.check_token(tokens, self)
        return self.token_to_idx.get(tokens, 0)

    def to_tokens(self, indices):
        """Return the token at one index, or the tokens of a list; IndexError outside the range."""
        if isinstance(indices, list):
            return [self.to_tokens(idx) for idx in indices]
        checks.check_index(indices, len(self))
        return self.idx_to_token[indices]
