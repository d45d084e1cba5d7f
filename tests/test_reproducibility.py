"""Every chapter again and again: the compared outputs are the same in any surroundings.

Three fresh kernels are compared with the outputs that a chapter stores. nbval's has the data at
hand, two threads, and one seed of Python's hashes. The one started here has no data but the
samples, two threads, and another seed. The book's had the data at hand, one thread where there are
fewer than eight cores, and hashes that nobody chose; what it gave is looked up where the site's
pages come from. Where no data is at hand, the book was made with the samples as well, and the
outputs that follow from them are compared, too.
"""

import copy
import sys
from itertools import cycle
from pathlib import Path
from types import SimpleNamespace

import nbformat
import pytest
from jupyter_cache import get_cache
from nbclient import NotebookClient

ROOT = Path(__file__).parents[1]
CHAPTERS = sorted((ROOT / "chapters").glob("*.ipynb"))
sys.path.insert(0, str(ROOT / "_ext"))
from checked_cells import data_tags, how_checked, missing_tags  # noqa: E402
from cores import CORES, keep_to  # noqa: E402
from notebook_cache import cache_folder, data_paths, in_cache  # noqa: E402

IN_TURN_ON_A_CORE = [  # the cores deal out the chapters among them, and each is one worker's
    pytest.param(path, core, id=path.stem, marks=pytest.mark.xdist_group(f"core {core}"))
    for path, core in zip(reversed(CHAPTERS), cycle(CORES), strict=False)
]
AT_HAND = any(data_paths().values())  # before a test hides them
NO_SERVER = "http://127.0.0.1:9"  # nothing listens there
BOOK_FIRST = "the book was not built from these files, settings and data: make book comes first"


@pytest.fixture
def other_surroundings(monkeypatch, tmp_path):
    """Let kernels find no data, and have two threads and another seed of hashes than nbval's."""
    for name in ("COURSE_DATA", "COURSE_REQUIRE_DATA"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("COURSE_CACHE", str(tmp_path))
    monkeypatch.setenv("HTTP_PROXY", NO_SERVER)
    monkeypatch.setenv("HTTPS_PROXY", NO_SERVER)
    monkeypatch.setenv("OMP_NUM_THREADS", "2")
    monkeypatch.setenv("PYTHONHASHSEED", "1")
    monkeypatch.setenv("COURSE_PROFILE", "quick")


@pytest.fixture
def one_core(core):
    """Let kernels keep to this core."""
    with keep_to(core):
        yield


def read(path):
    """Return a notebook with its stored outputs."""
    return nbformat.read(path, as_version=4)


def printed(cell):
    """Return what a cell printed, and the values that it showed, as text."""
    streams = [out.text for out in cell.outputs if out.get("name") == "stdout"]
    values = [out.data["text/plain"] for out in cell.outputs if "text/plain" in out.get("data", {})]
    return "".join(streams), values


def differences(stored, executed, missing=None):
    """Return the sources of the cells whose compared outputs are not the stored ones.

    Left out are cells with one of the tags `missing`, by default those of data sets not at hand.
    """
    missing = missing_tags() if missing is None else missing
    pairs = zip(stored.cells, executed.cells, strict=True)
    return [
        cell.source
        for cell, again in pairs
        if cell.cell_type == "code"
        and how_checked(cell, missing) == "compared"
        and printed(cell) != printed(again)
    ]


@pytest.fixture
def executed(path, other_surroundings, one_core):
    """Return a chapter as a fresh kernel executed it."""
    notebook = read(path)
    for cell in notebook.cells:
        if cell.cell_type == "code":
            cell.outputs = []
    folder = {"metadata": {"path": str(path.parent)}}
    return NotebookClient(
        notebook, timeout=600, kernel_name="python3", coalesce_streams=True, resources=folder
    ).execute()


@pytest.mark.parametrize(("path", "core"), IN_TURN_ON_A_CORE)
def test_same_outputs_on_samples_with_other_threads_and_hashes(path, executed):
    assert differences(read(path), executed) == []
    if not AT_HAND:
        assert differences(built(path), executed, missing=set()) == []
    device, *lines = printed(executed.cells[-1])[0].splitlines()
    assert device.endswith(", 2 threads")
    data = [line for line in lines if line.startswith("data ")]
    assert all(": sample: COURSE_DATA is not set; cache: " in line for line in data)


def test_kernels_get_the_other_surroundings(other_surroundings, tmp_path):
    names = "OMP_NUM_THREADS", "PYTHONHASHSEED", "COURSE_CACHE", "HTTPS_PROXY"
    cell = nbformat.v4.new_code_cell(f"import os\nprint(*map(os.environ.get, {names}))")
    notebook = NotebookClient(nbformat.v4.new_notebook(cells=[cell])).execute()
    assert printed(notebook.cells[0])[0] == f"2 1 {tmp_path} {NO_SERVER}\n"


def built(path, root=ROOT):
    """Return a chapter with the outputs that the page of the built site shows."""
    app = SimpleNamespace(srcdir=root, outdir=root / "_build/html")
    folder = cache_folder(app, data_paths())
    assert folder.exists(), BOOK_FIRST
    cache, notebook = get_cache(folder), read(path)
    assert in_cache(cache, notebook), BOOK_FIRST
    return cache.merge_match_into_notebook(notebook)[1]


@pytest.mark.parametrize("path", CHAPTERS, ids=lambda path: path.stem)
def test_pages_of_the_built_site_show_the_stored_outputs(path):
    assert differences(read(path), built(path)) == []


def test_a_book_that_was_not_built_fails(tmp_path):
    with pytest.raises(AssertionError, match="make book comes first"):
        built(CHAPTERS[0], root=tmp_path)


def test_one_changed_digit_is_a_difference():
    stored = read(CHAPTERS[0])
    changed = copy.deepcopy(stored)
    cell = next(
        cell
        for cell in changed.cells
        if cell.cell_type == "code" and how_checked(cell, data_tags(cell)) == "compared"
    )
    (output,) = cell.outputs
    output.text = output.text.replace("1", "2", 1)
    assert differences(stored, changed) == [cell.source]
