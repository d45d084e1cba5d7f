"""Profiles, claims and the guards against bad input."""

import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch

from utils import runtime

ROOT = Path(__file__).parents[1]
REAL = SimpleNamespace(name="book", is_sample=False, source="folder", sha256="0" * 64)
SAMPLE = SimpleNamespace(name="book", is_sample=True, source="sample: no network", sha256="1" * 64)


@pytest.fixture(params=["full", "quick"])
def profile(request, monkeypatch):
    monkeypatch.setenv("COURSE_PROFILE", request.param)
    return request.param


def test_budget_follows_the_profile(profile):
    assert runtime.profile() == profile
    assert runtime.budget(full="full", quick="quick") == profile


def test_the_first_budget_of_a_quick_run_says_that_training_is_cut_short(profile):
    """On stderr, which nobody compares; a claim's bound for quick runs is no budget."""
    code = (
        "import sys\n"
        "from utils.runtime import budget, claim\n"
        "claim('n', 2, equal=2, quick=2)\n"
        "print('claimed', file=sys.stderr)\n"
        "print(*(budget(full=3, quick=3) for _ in range(2)))\n"
    )
    command = [sys.executable, "-c", code]
    run = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    assert run.stdout == "✓ n: 2 = 2\n3 3\n"
    note = (
        "Training is cut short here; the text speaks of the recorded run.\n"
        "COURSE_PROFILE=full runs it whole.\n"
    )
    assert run.stderr == "claimed\n" + (note if profile == "quick" else "")


@pytest.mark.parametrize("value", [None, ""])
def test_profile_defaults_to_the_device(monkeypatch, value):
    monkeypatch.delenv("COURSE_PROFILE", raising=False)
    if value is not None:
        monkeypatch.setenv("COURSE_PROFILE", value)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    assert runtime.profile() == "full"
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert runtime.profile() == "quick"


def test_unknown_profile_is_an_error(monkeypatch):
    monkeypatch.setenv("COURSE_PROFILE", "fast")
    with pytest.raises(ValueError, match="COURSE_PROFILE must be 'full' or 'quick', got 'fast'"):
        runtime.profile()


@pytest.mark.parametrize(
    ("value", "bound", "line"),
    [
        (3, {"equal": 3}, "✓ n: 3 = 3"),
        (1234, {"equal": 1234}, "✓ n: 1,234 = 1,234"),
        (1.04321, {"at_most": 1.1}, "✓ n: 1.043 ≤ 1.1"),
        (1.1, {"at_most": 1.1}, "✓ n: 1.1 ≤ 1.1"),
        (2.5, {"at_least": 2}, "✓ n: 2.5 ≥ 2"),
        ("a b", {"equal": "a b"}, "✓ n: a b = a b"),
        (0, {"equal": 0}, "✓ n: 0 = 0"),
        (True, {"equal": True}, "✓ n: True = True"),
    ],
)
def test_true_claims_print_one_line(capsys, value, bound, line):
    runtime.claim("n", value, **bound)
    assert capsys.readouterr().out == line + "\n"


@pytest.mark.parametrize(
    ("value", "bound"),
    [
        (2, {"equal": 3}),
        (1.2, {"at_most": 1.1}),
        (1.0, {"at_least": 1.1}),
        (float("nan"), {"at_most": 1.1}),
        (float("nan"), {"at_least": 1.1}),
    ],
)
def test_false_claims_fail(value, bound):
    with pytest.raises(runtime.ClaimError, match=r"✗ n: .* does not hold"):
        runtime.claim("n", value, **bound)


def test_quick_replaces_the_bound_on_the_quick_profile_only(monkeypatch):
    monkeypatch.setenv("COURSE_PROFILE", "quick")
    runtime.claim("n", 5.0, at_most=1.1, quick=6)
    monkeypatch.setenv("COURSE_PROFILE", "full")
    with pytest.raises(runtime.ClaimError):
        runtime.claim("n", 5.0, at_most=1.1, quick=6)


def test_claims_about_a_corpus_are_not_judged_on_its_sample(capsys):
    runtime.claim("lines", 2, equal=3, on=SAMPLE)
    assert capsys.readouterr().out == "– lines: 2 (the sample of book; no claim)\n"
    with pytest.raises(runtime.ClaimError):
        runtime.claim("lines", 2, equal=3, on=REAL)


@pytest.mark.parametrize("bounds", [{}, {"equal": 1, "at_most": 2}])
def test_a_claim_needs_exactly_one_bound(bounds):
    with pytest.raises(TypeError, match="one of equal, at_most, at_least"):
        runtime.claim("n", 1, **bounds)


@pytest.mark.parametrize(
    ("value", "error"), [(0, ValueError), (-1, ValueError), (1.0, TypeError), (True, TypeError)]
)
def test_check_positive_names_argument_value_and_expectation(value, error):
    with pytest.raises(error, match=rf"num_steps must be a positive integer, got {value}"):
        runtime.check_positive(batch_size=1, num_steps=value)


def test_seed_repeats():
    runtime.seed(7)
    first = torch.rand(3)
    runtime.seed(7)
    assert torch.equal(first, torch.rand(3))


def test_progress_gives_every_item_and_leaves_one_line(capsys):
    assert list(runtime.progress(range(3), "epochs")) == [0, 1, 2]
    out = capsys.readouterr().out.rstrip("\n")
    assert out.split("\r")[-1].startswith("epochs: 3/3 in 00:") and "\n" not in out


def test_provenance_names_versions_profile_and_data(capsys, profile):
    runtime.provenance(REAL)
    out = capsys.readouterr().out
    assert f"PyTorch {torch.__version__}" in out and f"profile  {profile}" in out
    assert "data     book: folder, sha256 000000000000" in out


@pytest.mark.parametrize(("number", "words"), [(1, ", 1 thread\n"), (2, ", 2 threads\n")])
def test_provenance_counts_threads(capsys, monkeypatch, number, words):
    monkeypatch.setattr(runtime.torch, "get_num_threads", lambda: number)
    runtime.provenance()
    assert words in capsys.readouterr().out
