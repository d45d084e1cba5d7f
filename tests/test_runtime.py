"""Settings, devices, claims, and what is printed; whose `utils` a chapter gets."""

import os
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch

from utils import runtime

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT / "_ext"))
import chapter_runs  # noqa: E402
import surroundings  # noqa: E402

REAL = SimpleNamespace(name="book", is_sample=False, source="folder", sha256="0" * 64)
SAMPLE = SimpleNamespace(name="book", is_sample=True, source="sample: no network", sha256="1" * 64)


def python(code, **settings):
    """Return what a fresh Python with these settings printed, as bytes, and said on stderr."""
    env = os.environ | settings
    run = subprocess.run([sys.executable, "-c", code], cwd=ROOT, env=env, capture_output=True)
    assert run.returncode == 0, run.stderr.decode()
    return run.stdout, run.stderr.decode()


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
    out, err = python(code, PYTHONIOENCODING="utf-8")
    assert out.decode() == "✓ n: 2 = 2\n3 3\n"
    note = (
        "Training is cut short here; the text speaks of the recorded run.\n"
        "COURSE_PROFILE=full runs it whole.\n"
    )
    assert err == "claimed\n" + (note if profile == "quick" else "")


@pytest.mark.parametrize(
    ("setting", "there", "device", "profile"),
    [
        ("", "", "cpu", "quick"),
        ("", "cuda mps", "cuda", "full"),
        ("", "mps", "cpu", "quick"),  # taken only where it is asked for
        ("cpu", "cuda", "cpu", "quick"),
        ("cuda", "cuda", "cuda", "full"),
        ("mps", "mps", "mps", "quick"),
    ],
)
def test_device_and_profile_agree(monkeypatch, setting, there, device, profile):
    monkeypatch.setenv("COURSE_DEVICE", setting)
    monkeypatch.setenv("COURSE_PROFILE", "")
    for name, module in {"cuda": torch.cuda, "mps": torch.backends.mps}.items():
        monkeypatch.setattr(module, "is_available", lambda name=name: name in there)
    assert runtime.device() == torch.device(device) and runtime.profile() == profile


WRONG = {
    "COURSE_PROFILE=fast": "COURSE_PROFILE must be 'full' or 'quick', got 'fast'",
    "COURSE_DEVICE=tpu": "COURSE_DEVICE must be 'cpu' or 'cuda' or 'mps', got 'tpu'",
    "COURSE_DEVICE=cuda": "COURSE_DEVICE is 'cuda', but PyTorch finds no such device here",
    "COURSE_DEVICE=mps": "COURSE_DEVICE is 'mps', but PyTorch finds no such device here",
}


@pytest.mark.parametrize("setting", WRONG)
def test_wrong_settings_end_the_build_with_one_line(monkeypatch, setting):
    """SystemExit has no traceback, and nothing is executed before it."""
    monkeypatch.setenv(*setting.split("="))
    for module in (torch.cuda, torch.backends.mps):
        monkeypatch.setattr(module, "is_available", lambda: False)
    app = SimpleNamespace(srcdir=ROOT, builder=SimpleNamespace(format="html"))
    with pytest.raises(SystemExit) as error:
        chapter_runs.run_chapters(app)
    assert error.value.code == WRONG[setting]


@pytest.mark.parametrize("own", ["", ":16:8"])
def test_cuda_is_told_to_repeat_itself(own):
    """What a user has set stays."""
    code = "import os, torch, utils.runtime\n"
    code += "print(os.environ['CUBLAS_WORKSPACE_CONFIG'], torch.backends.cudnn.deterministic)"
    settings = {"CUBLAS_WORKSPACE_CONFIG": own} if own else {}
    assert python(code, **settings)[0].decode() == f"{own or ':4096:8'} True\n"


@pytest.mark.parametrize("file", ["utils.py", "utils/__init__.py"])
def test_another_utils_in_the_folder_of_a_notebook_is_named(tmp_path, file):
    (tmp_path / file).parent.mkdir(exist_ok=True)
    (tmp_path / file).touch()
    with pytest.raises(ImportError, match=f"^{tmp_path / file} would be imported as utils"):
        surroundings.python_path(tmp_path)


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


PRINTS = """
from types import SimpleNamespace
from utils.runtime import claim, progress, provenance
claim("n", 1, at_most=2)
claim("m", "是", equal="是")
claim("lines", 2, equal=3, on=SimpleNamespace(name="book", is_sample=True))
list(progress(range(3), "epochs"))
provenance(SimpleNamespace(name="book", source="file /时间", sha256="0" * 64))
"""


@pytest.mark.parametrize("encoding", ["utf-8", "gbk", "cp1252", "latin-1", "ascii"])
def test_what_is_printed_fits_the_encoding_of_the_output(encoding):
    """A sign that an encoding lacks is spelled in others; a letter becomes a question mark."""
    out = python(PRINTS, PYTHONIOENCODING=encoding)[0].decode(encoding)
    chinese = "是" if encoding in ("utf-8", "gbk") else "?"
    lines = out.splitlines()
    if encoding == "utf-8":
        assert lines[0] == "✓ n: 1 ≤ 2"
    else:
        assert lines[0] == "ok n: 1 <= 2"
    assert lines[1].endswith(f"m: {chinese} = {chinese}")
    assert lines[2].lstrip("–- ") == "lines: 2 (the sample of book; no claim)"
    assert "epochs: 3/3" in out and "data     book: file /" in out
