"""Every chapter once more, in other surroundings than nbval's: the compared outputs are the same.

nbval executes the chapters with the data at hand, one thread, and the hashes of Python's own
choice. Here a fresh kernel has no data but the samples, two threads, and hashes from a fixed seed.
"""

import copy
import sys
from pathlib import Path

import nbformat
import pytest
from nbclient import NotebookClient

ROOT = Path(__file__).parents[1]
CHAPTERS = sorted((ROOT / "chapters").glob("*.ipynb"))
sys.path.insert(0, str(ROOT / "_ext"))
from checked_cells import data_tags, how_checked  # noqa: E402

ONE_A_WORKER = [
    pytest.param(path, id=path.stem, marks=pytest.mark.xdist_group(path.stem)) for path in CHAPTERS
]
NO_SERVER = "http://127.0.0.1:9"  # nothing listens there


@pytest.fixture
def other_surroundings(monkeypatch, tmp_path):
    """Let kernels find no data, and have two threads and a fixed seed of hashes."""
    for name in ("COURSE_DATA", "COURSE_REQUIRE_DATA"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("COURSE_CACHE", str(tmp_path))
    monkeypatch.setenv("HTTP_PROXY", NO_SERVER)
    monkeypatch.setenv("HTTPS_PROXY", NO_SERVER)
    monkeypatch.setenv("OMP_NUM_THREADS", "2")
    monkeypatch.setenv("PYTHONHASHSEED", "1")
    monkeypatch.setenv("COURSE_PROFILE", "quick")


def printed(cell):
    """Return what a cell printed, and the values that it showed, as text."""
    streams = [out.text for out in cell.outputs if out.get("name") == "stdout"]
    values = [out.data["text/plain"] for out in cell.outputs if "text/plain" in out.get("data", {})]
    return "".join(streams), values


def differences(stored, executed):
    """Return the sources of the cells whose compared outputs are not the stored ones."""
    pairs = zip(stored.cells, executed.cells, strict=True)
    return [
        cell.source
        for cell, again in pairs
        if cell.cell_type == "code"
        and how_checked(cell, missing=data_tags(cell)) == "compared"
        and printed(cell) != printed(again)
    ]


@pytest.fixture
def executed(path, other_surroundings):
    """Return a chapter as a fresh kernel executed it."""
    notebook = nbformat.read(path, as_version=4)
    for cell in notebook.cells:
        if cell.cell_type == "code":
            cell.outputs = []
    folder = {"metadata": {"path": str(path.parent)}}
    return NotebookClient(
        notebook, timeout=600, kernel_name="python3", coalesce_streams=True, resources=folder
    ).execute()


@pytest.mark.parametrize("path", ONE_A_WORKER)
def test_same_outputs_on_samples_with_other_threads_and_hashes(path, executed):
    assert differences(nbformat.read(path, as_version=4), executed) == []
    assert "from COURSE_DATA" not in printed(executed.cells[-1])[0]


def test_one_changed_digit_is_a_difference():
    stored = nbformat.read(CHAPTERS[0], as_version=4)
    changed = copy.deepcopy(stored)
    cell = next(
        cell
        for cell in changed.cells
        if cell.cell_type == "code" and how_checked(cell, data_tags(cell)) == "compared"
    )
    (output,) = cell.outputs
    output.text = output.text.replace("1", "2", 1)
    assert differences(stored, changed) == [cell.source]
