"""A trained model as files that the panels of the site load in the reader's browser."""

import copy
import hashlib
import json
import os
import string
from pathlib import Path

import torch

from utils import checks

BITS = 12  # of a weight in a file: with 8, probabilities are off by up to 0.04, now by 0.003
PARTS = 8  # files of each kind, so that a browser can tell how much of it has come
DIGITS = string.ascii_uppercase + string.ascii_lowercase + string.digits + "+/"
PAIRS = [first + second for first in DIGITS for second in DIGITS]


def export(name, model, vocab, units, counted, exact=False):
    """Write a model of characters, and counts to compare it with, where COURSE_LIVE says.

    model: LanguageModel on a one-layer nn.LSTM, or one with its parts' names; vocab: its Vocab;
    units: {what it shows: index of a unit of the cell}; counted: a fitted KneserNey of the same
    vocabulary; exact: weights are not rounded. COURSE_LIVE names a folder; without it nothing is
    written. Prints what each kind of file holds, with its hash. Raises TypeError or ValueError
    that names the argument.
    """
    checks.check_live(name, model, vocab, units, counted)
    tensors = {key: _rows(weight, exact) for key, weight in model.state_dict().items()}
    weights = {"vocab": vocab.idx_to_token, "units": units, "tensors": tensors}
    ngrams = {"vocab_size": len(vocab), "discount": counted.discount, **_grams(counted)}
    for kind, content in {"weights": weights, "ngrams": ngrams}.items():
        text = json.dumps(content)
        sha256 = hashlib.sha256(text.encode()).hexdigest()
        print(f"{name}-{kind}  {len(text) / 1e6:.2f} MB  sha256 {sha256[:12]}")
        for part in range(PARTS) if os.environ.get("COURSE_LIVE") else ():
            piece = text[part * len(text) // PARTS : (part + 1) * len(text) // PARTS]
            given = json.dumps([f"{name}-{kind}", part, PARTS, sha256, piece])
            file = Path(os.environ["COURSE_LIVE"], f"{name}-{kind}-{part + 1}.part")
            file.write_text(f"live.receive({given[1:-1]});\n", "utf8")
            os.replace(file, file.with_suffix(".js"))  # whole, or not there


def rounded(model, bits=BITS):
    """Return a copy of the model with the weights that its file holds: of so many bits each."""
    model = copy.deepcopy(model)
    for weight in model.state_dict().values():
        scales, integers = _integers(weight, bits)
        weight.copy_((scales * integers).reshape(weight.shape))
    return model


def _integers(weight, bits):
    """Return a scale for each row (rows, 1), and the integers (rows, columns) that it scales."""
    rows, top = weight.cpu().double().reshape(-1, weight.shape[-1]), 2 ** (bits - 1) - 1
    scales = [[float(f"{peak / top:.6g}") or 1.0] for peak in rows.abs().amax(dim=1).tolist()]
    scales = torch.tensor(scales, dtype=torch.float64)  # few digits in a file
    return scales, (rows / scales).round().long()


def _rows(weight, exact):
    """Return the rows of a weight: each a scale and its digits, or numbers where exact.

    An integer n of 12 bits is two digits to the base 64, those of n + 2048.
    """
    if exact:
        return weight.reshape(-1, weight.shape[-1]).tolist()
    scales, integers = (part.tolist() for part in _integers(weight, BITS))
    rows = zip(scales, integers, strict=True)
    return [[scale, "".join(PAIRS[n + 2048] for n in row)] for (scale,), row in rows]


def _grams(counted):
    """Return the first tokens, and the longest n-grams in order with their counts, as a text.

    A number n is the character 35 + n. Of each n-gram: how many tokens it shares with the one
    before, + order · count, the count being 9 at most; its other tokens; then what 9 leaves of it.
    """
    longest = {c: x for c, x in counted.counts.items() if len(c) == counted.order - 1}
    text, before = [], ()
    for gram, count in sorted(((*c, t), n) for c, x in longest.items() for t, n in x.items()):
        shared = next(i for i in range(counted.order) if gram[i] not in before[i : i + 1])
        head, more = shared + counted.order * min(count, 9), [count - 9] if count >= 9 else []
        text += [chr(35 + n) for n in (head, *gram[shared:], *more)]
        before = gram
    start = "".join(chr(35 + n) for n in next(iter(longest)))
    return {"order": counted.order, "start": start, "grams": "".join(text)}
