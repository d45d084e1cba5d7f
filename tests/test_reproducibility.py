"""Every chapter again and again: the compared outputs are the same in any surroundings.

The build's kernel had the data at hand, one thread where there are fewer than eight cores, and any
hashes. nbval's has the data, two threads, and one seed of Python's hashes. The one started here has
the samples alone, two threads, another seed, and runs each cell twice. Where no data is at hand,
the book was made with the samples as well, and the outputs that follow from them are compared, too.
"""

import os
import re
from contextlib import contextmanager
from itertools import cycle

import pytest
from compare import code_cells, compared, missing_tags, provenance
from nbclient import NotebookClient
from nbformat.v4 import new_code_cell, new_notebook
from notebooks import CHAPTERS, ROOT, read

from utils import datasets

# Two threads take turns on one core, as they would not on a busy machine. They share each sum as
# they would on two, but on two that have other things to do, they wait longer than they work.
CAN_CHOOSE = hasattr(os, "sched_setaffinity")
CORES = sorted(os.sched_getaffinity(0)) if CAN_CHOOSE else range(os.cpu_count() or 1)
IN_TURN_ON_A_CORE = [  # the cores deal out the chapters among them, and each is one worker's
    pytest.param(path, core, id=path.stem, marks=pytest.mark.xdist_group(f"core {core}"))
    for path, core in zip(reversed(CHAPTERS), cycle(CORES), strict=False)
]
AT_HAND = any(map(datasets.locate, datasets.REGISTRY))  # before a test hides them
PRIVATE = re.compile(r"/ipykernel_\d|\w+-packages/|/root/|/home/\w")  # paths of a machine
NO_SERVER = "http://127.0.0.1:9"  # nothing listens there


@contextmanager
def keep_to(core):
    """Let the processes that are started here run on this core, where the system allows it."""
    if CAN_CHOOSE:
        os.sched_setaffinity(0, {core})
    try:
        yield
    finally:
        if CAN_CHOOSE:
            os.sched_setaffinity(0, CORES)


@pytest.fixture
def other_surroundings(monkeypatch, tmp_path):
    """Let kernels find no data, and have two threads and another seed of hashes than nbval's."""
    settings = {"COURSE_DATA": "", "COURSE_REQUIRE_DATA": "", "COURSE_CACHE": str(tmp_path)}
    settings |= {"HTTP_PROXY": NO_SERVER, "HTTPS_PROXY": NO_SERVER, "COURSE_PROFILE": "quick"}
    settings |= {"OMP_NUM_THREADS": "2", "PYTHONHASHSEED": "1"}
    for name, value in settings.items():
        monkeypatch.setenv(name, value)


def differences(stored, executed, missing=None):
    """Return the sources of the cells that differ, but for those with tags of missing data."""
    missing = missing_tags() if missing is None else missing
    return [source for source, one, other in compared(stored, executed, missing) if one != other]


@pytest.fixture
def executed(path, core, other_surroundings):
    """Return what the cells of a chapter gave the first time, and when run again at once."""
    twice = [cell for cell in code_cells(read(path)) for _ in range(2)]
    cells = [new_code_cell(cell.source, metadata=cell.metadata) for cell in twice]
    options = {"timeout": 600, "kernel_name": "python3", "coalesce_streams": True}
    options["resources"] = {"metadata": {"path": str(path.parent)}}
    with keep_to(core):
        NotebookClient(new_notebook(cells=cells), **options).execute()
    return [new_notebook(cells=cells[first::2]) for first in (0, 1)]


@pytest.mark.parametrize(("path", "core"), IN_TURN_ON_A_CORE)
def test_same_outputs_on_samples_with_other_threads_and_hashes_and_when_run_again(path, executed):
    (once, again), stored = executed, read(path)
    assert differences(stored, once) == []
    assert differences(once, again, missing=set()) == []
    if not AT_HAND:
        built = ROOT / "_build/runs" / path.name
        assert built.exists(), "make book comes first"
        assert differences(read(built), once, missing=set()) == []
    assert PRIVATE.findall(str([code_cells(run) for run in (stored, once, again)])) == []
    facts = provenance(again)
    assert facts["device"].endswith(", 2 threads")
    assert all(": sample: COURSE_DATA is not set; cache: " in line for line in facts["data"])
