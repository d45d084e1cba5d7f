"""The copies for Colab, Kaggle and editors: what they hold, and that they run where nothing is."""

import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
from importlib.metadata import distribution
from pathlib import Path

import nbformat
import pytest
from filelock import FileLock
from jupyter_client import AsyncKernelManager
from jupyter_client.kernelspec import KernelSpecManager
from nbclient import NotebookClient
from packaging.requirements import Requirement

ROOT = Path(__file__).parents[1]
COPIES = ROOT / "_build/notebooks/chapters"
COLD = ROOT / "_build/cold-venv"
# Colab's versions; PyTorch is the course's own. None of the other packages of the course is there.
COLAB = ["numpy==2.1.3", "pandas==2.2.3", "matplotlib==3.10.0", "ipython==7.34.0"]
COLAB += ["ipykernel==6.17.1", "pooch==1.9.0", "scipy", "tqdm", "requests"]
NAMES = sorted(path.stem for path in ROOT.glob("chapters/*.ipynb"))
QUICK = "03_language_models"
ALONE = {name: [pytest.mark.xdist_group(name)] for name in NAMES}  # two at a time in test-colab
for name in set(NAMES) - {QUICK}:
    ALONE[name].append(pytest.mark.colab)


def link(name, site):
    """Let an environment find a package of this one, and what the package needs."""
    package = distribution(name)
    for top in {file.parts[0] for file in package.files} - {"..", "__pycache__"}:
        if not (site / top).exists():
            (site / top).symlink_to(package.locate_file(top))
    for needed in map(Requirement, package.requires or []):
        if not needed.marker or needed.marker.evaluate({"extra": ""}):
            link(needed.name, site)


@pytest.fixture(scope="session")
def cold():
    """Return the Python of an environment with Colab's versions; it is made once and kept."""
    made_of = json.dumps([COLAB, sys.prefix, distribution("torch").version])
    with FileLock(f"{COLD}.lock"):
        if not (COLD / "ready").exists() or (COLD / "ready").read_text() != made_of:
            shutil.rmtree(COLD, ignore_errors=True)
            subprocess.run([sys.executable, "-m", "venv", COLD], check=True)
            subprocess.run([COLD / "bin/python", "-m", "pip", "install", "-q", *COLAB], check=True)
            link("torch", next(COLD.glob("lib/*/site-packages")))  # after pip: it leaves these be
            (COLD / "ready").write_text(made_of)
    return COLD / "bin/python"


@pytest.fixture(scope="session")
def origin(tmp_path_factory):
    """Return (address, commit) of a repository that holds this tree as it is now."""
    folder = tmp_path_factory.mktemp("origin")
    shutil.copytree(ROOT / "utils", folder / "utils", ignore=shutil.ignore_patterns("__pycache__"))
    git = ["git", "-C", folder, "-c", "user.name=A", "-c", "user.email=a@example.org"]
    for words in (["init", "-q"], ["add", "."], ["commit", "-q", "-m", "All"]):
        subprocess.run([*git, *words], check=True)
    commit = subprocess.run([*git, "rev-parse", "HEAD"], capture_output=True, text=True, check=True)
    return f"file://{folder}", commit.stdout.strip()


def copy_of(name, origin):
    """Return a copy whose first cell fetches from the repository of the tests."""
    copy = nbformat.read(COPIES / f"{name}.ipynb", as_version=4)
    for what, value in zip(("ADDRESS", "COMMIT"), origin, strict=True):
        known = re.compile(rf'^{what} = ".+"$', re.M)
        copy.cells[0].source = known.sub(f'{what} = "{value}"', copy.cells[0].source)
    return copy


def run(notebook, python, folder, cut_off=False, **env):
    """Execute a notebook in a folder with a Python that has nothing of this project."""
    with tempfile.TemporaryDirectory() as short:  # of a socket's name, a hundred letters count
        argv = ["unshare", "-n"] * cut_off + [str(python), "-m", "ipykernel_launcher", "-f"]
        (spec := Path(short, "cold")).mkdir()
        facts = {"argv": [*argv, "{connection_file}"], "display_name": "", "language": "python"}
        (spec / "kernel.json").write_text(json.dumps(facts))
        specs, file = KernelSpecManager(kernel_dirs=[short]), f"{short}/kernel.json"
        options = {"kernel_name": "cold", "transport": "ipc", "connection_file": file}
        kernel = AsyncKernelManager(kernel_spec_manager=specs, **options)
        left_out = {"PYTHONPATH", "JUPYTER_PATH", "MPLBACKEND"}
        env = {k: v for k, v in os.environ.items() if k not in left_out} | env
        where = {"metadata": {"path": str(folder)}}
        NotebookClient(notebook, km=kernel, resources=where, timeout=600).execute(env=env)
    return notebook


def said(notebook):
    """Return what the cells of a notebook printed."""
    outputs = [output for cell in notebook.cells for output in cell.get("outputs", [])]
    return "".join(output.get("text", "") for output in outputs)


def packages(python):
    """Return the packages of an environment, with their versions."""
    return subprocess.run([python, "-m", "pip", "freeze"], capture_output=True, check=True).stdout


@pytest.mark.parametrize("name", [pytest.param(name, marks=ALONE[name]) for name in NAMES])
def test_copy_runs_alone_with_older_versions_and_again_without_a_network(
    name, cold, origin, tmp_path
):
    """First with the data where they are at hand; cut off, on the samples, with what is there."""
    before = packages(cold)
    run(copy_of(name, origin), cold, tmp_path)
    again = run(copy_of(name, origin), cold, tmp_path, True, COURSE_DATA="", COURSE_CACHE=".")
    assert packages(cold) == before
    assert "device   cpu" in said(again) and "– " in said(again) + "– "
