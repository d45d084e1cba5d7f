"""A notebook's surroundings: device, seed, profile, claims, progress, provenance."""

import os
import platform
import sys
import warnings
from functools import cache
from operator import eq, ge, le

import torch
from tqdm import tqdm

from utils import checks

RELATIONS = {"equal": ("=", eq), "at_most": ("≤", le), "at_least": ("≥", ge)}
PLAIN = str.maketrans({"✓": "ok", "–": "-", "≤": "<=", "≥": ">="})  # for streams without these

# Only so do two runs on CUDA give the same numbers; both come before its first use.
os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
torch.backends.cudnn.deterministic = True


def _without_path(message, category, *place):
    """Format a warning without its place: a path of this machine, and for a cell a made-up one."""
    return f"{category.__name__}: {message}\n"


warnings.formatwarning = _without_path


class ClaimError(AssertionError):
    """A statement the prose makes is not true of this run."""


def _setting(name, choices, default):
    """Return what an environment variable says, which must be a choice, or a default."""
    value = os.environ.get(name) or default
    if value not in choices:
        raise ValueError(f"{name} must be {' or '.join(choices)}, got {value!r}")
    return value


def device():
    """Return the device that COURSE_DEVICE names, else CUDA's where there is one, else the CPU.

    Raises ValueError for another name than cpu, cuda or mps, and where that device is not there.
    """
    cuda, mps = torch.cuda.is_available(), torch.backends.mps.is_available()
    there = {"cpu": True, "cuda": cuda, "mps": mps}
    name = _setting("COURSE_DEVICE", there, "cuda" if cuda else "cpu")
    if not there[name]:
        raise ValueError(f"COURSE_DEVICE is {name!r}, but PyTorch finds no such device here")
    return torch.device(name)


def profile():
    """Return "full" or "quick": COURSE_PROFILE, or full on a CUDA device and quick elsewhere.

    Raises ValueError when COURSE_PROFILE is anything else.
    """
    usual = "full" if device().type == "cuda" else "quick"
    return _setting("COURSE_PROFILE", ("full", "quick"), usual)


def switch(name):
    """Return whether an environment variable is 1; ValueError unless 0, 1, empty or unset."""
    return _setting(name, ("0", "1"), "0") == "1"


def budget(*, full, quick):
    """Return ``full`` on the full profile and ``quick`` on the quick one.

    The first call on the quick profile says on stderr that training is cut short.
    """
    if profile() == "quick":
        _say_cut_short()
    return full if profile() == "full" else quick


@cache
def _say_cut_short():
    """Say on stderr, the first time only, that this is not the run that the text speaks of."""
    print("Training is cut short here; the text speaks of the recorded run.", file=sys.stderr)
    print("COURSE_PROFILE=full runs it whole.", file=sys.stderr)


def seed(number):
    """Seed PyTorch's generators on every device; draw on the CPU to start alike everywhere."""
    torch.manual_seed(number)


def claim(what, value, *, equal=None, at_most=None, at_least=None, quick=None, on=None):
    """Print one line that states a fact of this run; raise ClaimError when it is false.

    A statement that is ``True`` or ``False`` stands alone. For any other value exactly one of
    ``equal``, ``at_most``, ``at_least`` is the bound; ``quick`` replaces it on the quick profile.
    With ``on=corpus`` the claim is about that real corpus: where its sample stands in, the line is
    printed and not judged.
    """
    bounds = {"equal": equal, "at_most": at_most, "at_least": at_least}
    given = [name for name, bound in bounds.items() if bound is not None]
    if not given and quick is None and isinstance(value, bool):
        holds, fact, line = value, what, what
    elif len(given) != 1:
        raise TypeError(f"claim needs one of equal, at_most, at_least; got {given or 'none'}")
    else:
        sign, relation = RELATIONS[given[0]]
        bound = bounds[given[0]] if quick is None or profile() == "full" else quick
        holds, fact = relation(value, bound), f"{what}: {_short(value)}"
        line = f"{fact} {sign} {_short(bound)}"
    if on is not None and on.is_sample:
        _say(f"– {fact} (the sample of {on.name}; no claim)")
    elif not holds:
        raise ClaimError(f"✗ {line} does not hold")
    else:
        _say(f"✓ {line}")


def _say(line):
    """Print a line, with plain signs where the encoding of the output lacks one."""
    print(_plain(line))


def _plain(text):
    """Return the text, with plain signs where the encoding of the output lacks one."""
    encoding = getattr(sys.stdout, "encoding", None) or "utf-8"
    try:
        return text.encode(encoding).decode(encoding)
    except UnicodeEncodeError:
        return text.translate(PLAIN).encode(encoding, "replace").decode(encoding)


def _short(value):
    """Format a number for a claim: thousands separated, floats to four digits."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return str(value)
    return f"{value:,}" if isinstance(value, int) else f"{value:.4g}"


def progress(iterable, description, total=None):
    """Wrap a long loop in a progress bar that leaves one line of plain text behind.

    Raises TypeError or ValueError unless description is a string of one line.
    """
    checks.check_line(description=description)
    style = "{desc}: {n_fmt}/{total_fmt} in {elapsed}"
    return tqdm(iterable, _plain(description), total, bar_format=style, file=sys.stdout)


def provenance(*data):
    """Print what this run stands on: device, versions, profile, and each corpus with its hash."""
    gpu = torch.cuda.get_device_name() if device().type == "cuda" else platform.machine()
    threads = torch.get_num_threads()
    print(f"device   {device().type} ({gpu}), {threads} thread{'s' if threads > 1 else ''}")
    print(f"versions Python {platform.python_version()}, PyTorch {torch.__version__}")
    print(f"profile  {profile()}")
    for corpus in data:
        _say(f"data     {corpus.name}: {corpus.source}, sha256 {corpus.sha256[:12]}")
