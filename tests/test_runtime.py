"""Settings, device, claims, and what is printed; whose `utils` a chapter gets."""

import io
import os
import subprocess
import sys
from types import SimpleNamespace

import chapter_runs
import pytest
import surroundings
import torch
from notebooks import ROOT

from utils import runtime

REAL = SimpleNamespace(name="book", is_sample=False, source="folder", sha256="0" * 64)
SAMPLE = SimpleNamespace(name="book", is_sample=True, source="sample: 没有", sha256="1" * 64)


def python(code):
    """Return what a fresh Python printed, and what it said on stderr."""
    env = os.environ | {"PYTHONIOENCODING": "utf-8"}
    run = subprocess.run([sys.executable, "-c", code], cwd=ROOT, env=env, capture_output=True)
    return run.stdout.decode(), run.stderr.decode()


@pytest.fixture(params=["full", "quick"])
def profile(request, monkeypatch):
    monkeypatch.setenv("COURSE_PROFILE", request.param)
    return request.param


@pytest.fixture
def there(request, monkeypatch):
    """Let PyTorch find the devices of the parameter, and no others."""
    for name, module in {"cuda": torch.cuda, "mps": torch.backends.mps}.items():
        monkeypatch.setattr(module, "is_available", lambda name=name: name in request.param)


def test_the_first_budget_of_a_quick_run_says_that_training_is_cut_short(profile):
    """On stderr, which nobody compares; a claim's bound for quick runs is no budget."""
    out, err = python(
        "import sys\nfrom utils.runtime import budget, claim\n"
        "claim('n', 2, at_most=3, quick=4)\nprint('claimed', file=sys.stderr)\n"
        "print(*(budget(full='full', quick='quick') for _ in range(2)))\n"
    )
    assert out == f"✓ n: 2 ≤ {3 if profile == 'full' else 4}\n{profile} {profile}\n"
    assert err.startswith("claimed\n") and err.count("Training is cut") == (profile == "quick")


@pytest.mark.parametrize(
    ("there", "setting", "found"),
    [
        ("", "", ("cpu", "quick")),
        ("cuda mps", "", ("cuda", "full")),
        ("mps", "", ("cpu", "quick")),  # taken only where it is asked for
        ("cuda", "cpu", ("cpu", "quick")),
        ("mps", "mps", ("mps", "quick")),
    ],
    indirect=["there"],
)
def test_device_and_profile_agree(there, monkeypatch, setting, found):
    monkeypatch.setenv("COURSE_DEVICE", setting)
    monkeypatch.setenv("COURSE_PROFILE", "")
    assert (runtime.device().type, runtime.profile()) == found


@pytest.mark.parametrize("there", [""], indirect=True)
@pytest.mark.parametrize(
    ("name", "value", "words"),
    [
        ("COURSE_REQUIRE_DATA", "false", "COURSE_REQUIRE_DATA must be 0 or 1, got 'false'"),
        ("COURSE_PROFILE", "fast", "COURSE_PROFILE must be full or quick, got 'fast'"),
        ("COURSE_DEVICE", "tpu", "COURSE_DEVICE must be cpu or cuda or mps, got 'tpu'"),
        ("COURSE_DEVICE", "cuda", "COURSE_DEVICE is 'cuda', but PyTorch finds no such device here"),
    ],
)
def test_a_wrong_setting_ends_the_build_with_one_line(there, monkeypatch, name, value, words):
    monkeypatch.setenv(name, value)
    app = SimpleNamespace(srcdir=ROOT, builder=SimpleNamespace(format="html"))
    with pytest.raises(SystemExit) as error:  # has no traceback
        chapter_runs.run_chapters(app)
    assert error.value.code == words


def test_cuda_is_told_to_repeat_itself_unless_the_user_said_something_else(monkeypatch):
    code = "import os, torch, utils.runtime\n"
    code += "print(os.environ['CUBLAS_WORKSPACE_CONFIG'], torch.backends.cudnn.deterministic)"
    monkeypatch.setenv("CUBLAS_WORKSPACE_CONFIG", ":16:8")
    assert python(code)[0] == ":16:8 True\n"
    monkeypatch.delenv("CUBLAS_WORKSPACE_CONFIG")
    assert python(code)[0] == ":4096:8 True\n"


@pytest.mark.parametrize("file", ["utils.py", "utils/__init__.py"])
def test_another_utils_in_the_folder_of_a_notebook_is_named(tmp_path, file):
    (tmp_path / file).parent.mkdir(exist_ok=True)
    (tmp_path / file).touch()
    with pytest.raises(ImportError, match=f"^{tmp_path / file} would be imported as utils"):
        surroundings.python_path(tmp_path)


TRUE = {
    "✓ n: 1,234 = 1,234": (1234, {"equal": 1234}),
    "✓ n: 1.043 ≤ 1.1": (1.04321, {"at_most": 1.1}),
    "✓ n: 1.1 ≤ 1.1": (1.1, {"at_most": 1.1}),
    "✓ n: 2.5 ≥ 2": (2.5, {"at_least": 2}),
    "✓ n: a b = a b": ("a b", {"equal": "a b"}),
    "✓ n: 0 = 0": (0, {"equal": 0}),
    "✓ n": (True, {}),
    "– n (the sample of book; no claim)": (False, {"on": SAMPLE}),
    "– n: 2 (the sample of book; no claim)": (2, {"equal": 3, "on": SAMPLE}),
}
FALSE = [(2, {"equal": 3}), (1.2, {"at_most": 1.1}), (1.0, {"at_least": 1.1}), (False, {})]
FALSE += [(float("nan"), {"at_most": 1.1}), (float("nan"), {"at_least": 1.1})]


def test_true_claims_and_those_that_a_sample_leaves_open_print_one_line(capsys):
    for value, given in TRUE.values():
        runtime.claim("n", value, **given)
    assert capsys.readouterr().out.splitlines() == [*TRUE]


@pytest.mark.parametrize(("value", "bound"), FALSE)
def test_false_claims_fail(value, bound):
    with pytest.raises(runtime.ClaimError, match=r"✗ n.* does not hold"):
        runtime.claim("n", value, **bound, on=REAL)


@pytest.mark.parametrize("given", [{"n": 1}, {"n": 1, "equal": 1, "at_most": 2}, {"quick": False}])
def test_a_claim_needs_one_bound_and_what_is_true_or_false_none_for_quick_runs(given):
    with pytest.raises(TypeError, match="one of equal, at_most, at_least"):
        runtime.claim("n", given.pop("n", True), **given)


@pytest.mark.parametrize(("number", "threads"), [(1, "1 thread\n"), (2, "2 threads\n")])
def test_provenance_says_what_the_run_stands_on(capsys, monkeypatch, profile, number, threads):
    monkeypatch.setattr(torch, "get_num_threads", lambda: number)
    runtime.provenance(REAL)
    out = capsys.readouterr().out
    assert f"PyTorch {torch.__version__}" in out and f"profile  {profile}" in out
    assert threads in out and "data     book: folder, sha256 000000000000" in out


@pytest.mark.parametrize("encoding", ["gbk", "cp1252", "latin-1", "ascii"])
def test_what_is_printed_fits_the_encoding_of_the_output(monkeypatch, encoding):
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(io.BytesIO(), encoding))
    for value, given in TRUE.values():
        runtime.claim("n", value, **given)
    assert list(runtime.progress(range(3), "没有 epochs")) == [0, 1, 2]
    runtime.provenance(SAMPLE)
    sys.stdout.seek(0)
    out = sys.stdout.read()
    assert "ok n: 1.043 <= 1.1\n" in out and "ok n: 2.5 >= 2\n" in out
    signs = "没有" if encoding == "gbk" else "??"
    assert f"sample: {signs}, sha256" in out and f"{signs} epochs: 3/3 in" in out
