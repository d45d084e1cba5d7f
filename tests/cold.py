"""A place where nothing of this project is: older packages, an empty folder, no network."""

import json
import os
import shutil
import subprocess
import sys
import tempfile
from importlib.metadata import distribution
from pathlib import Path

import pytest
from filelock import FileLock
from jupyter_client import AsyncKernelManager
from jupyter_client.kernelspec import KernelSpecManager
from nbclient import NotebookClient
from packaging.requirements import Requirement

ROOT = Path(__file__).parents[1]
VENV = ROOT / "_build/cold-venv"
# Colab's versions; PyTorch is the course's own. None of the other packages of the course is there.
COLAB = ["numpy==2.1.3", "pandas==2.2.3", "matplotlib==3.10.0", "ipython==7.34.0"]
COLAB += ["ipykernel==6.17.1", "pooch==1.9.0", "scipy", "tqdm", "requests"]


def needed(name):
    """Return the names of a package and of all that it needs in turn."""
    names = [name]
    for each in names:
        found = map(Requirement, distribution(each).requires or [])
        more = [need.name for need in found if not need.marker or need.marker.evaluate()]
        names += [name for name in more if name not in names]
    return names


def python():
    """Return the Python of an environment with Colab's versions; it is made once and kept."""
    if sys.version_info >= (3, 14):
        pytest.skip("Colab's versions have no builds for this Python")
    made_of = json.dumps([COLAB, sys.prefix, distribution("torch").version])
    VENV.parent.mkdir(exist_ok=True)
    with FileLock(f"{VENV}.lock"):
        if not (VENV / "ready").exists() or (VENV / "ready").read_text() != made_of:
            shutil.rmtree(VENV, ignore_errors=True)
            subprocess.run([sys.executable, "-m", "venv", VENV], check=True)
            subprocess.run([VENV / "bin/python", "-m", "pip", "install", "-q", *COLAB], check=True)
            site = next(VENV.glob("lib/*/site-packages"))
            for package in map(distribution, needed("torch")):  # pip would go through the links
                for top in {file.parts[0] for file in package.files} - {"..", "__pycache__"}:
                    if not (site / top).exists():
                        (site / top).symlink_to(package.locate_file(top))
            (VENV / "ready").write_text(made_of)
    return VENV / "bin/python"


def cut():
    """Return the command that cuts a command off from the network; without one, say so aloud."""
    for command in (["unshare", "-n"], ["unshare", "-r", "-n"]):
        if shutil.which("unshare") and not subprocess.run([*command, "true"]).returncode:
            return command
    told = pytest.fail if "CI" in os.environ else pytest.skip
    return told("Not tried without a network: `unshare -n` is not there, or not allowed")


def run(notebook, folder, cut_off=False, **env):
    """Execute a notebook in a folder, without a network where that is asked for."""
    with tempfile.TemporaryDirectory() as short:  # the name of a socket has at most 100 letters
        argv = [*(cut() if cut_off else []), str(python()), "-m", "ipykernel_launcher", "-f"]
        facts = {"argv": [*argv, "{connection_file}"], "display_name": "", "language": "python"}
        Path(short, "cold").mkdir()
        Path(short, "cold/kernel.json").write_text(json.dumps(facts))
        options = {"kernel_spec_manager": KernelSpecManager(kernel_dirs=[short])}
        options |= {"transport": "ipc", "connection_file": f"{short}/kernel.json"}
        kernel = AsyncKernelManager(kernel_name="cold", **options)
        ours = {"PYTHONPATH", "JUPYTER_PATH", "MPLBACKEND"}
        env = {name: value for name, value in os.environ.items() if name not in ours} | env
        where = {"metadata": {"path": str(folder)}}
        NotebookClient(notebook, km=kernel, resources=where, timeout=600).execute(env=env)
    return notebook
