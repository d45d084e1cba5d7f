"""nbval really checks: a changed output fails, and so does a broken cell; the report counts."""

import os
import re
import subprocess
import sys

import nbformat
from broken import BROKEN
from nbformat.v4 import new_output
from notebooks import ROOT, notebook

REPORT = "cells compared with their stored outputs, or executed only"
SAID = "(2, 3): 1,234 = 1,234 and 0.51 of the words\n"
CHANGES = [("3)", "4)"), ("= 1,234", "= 1,235"), ("0.51", "0.52"), ("0.51", "0.510"), ("ds", "d")]
KNOWN = [  # source, what is stored, tags; what is stored of the last two is wrong
    ("value = 6 * 7; value;", "", []),
    ("print(value)", "42\n", []),
    ("import os\nprint(*map(os.environ.get, ['OMP_NUM_THREADS', 'PYTHONHASHSEED']))", "2 0\n", []),
    ("print(value)", "about 40\n", ["nbval-ignore-output"]),
    ("print(value)", "41\n", ["data-time-machine"]),
]


def run(folder, *options):
    """Run nbval with the project's conftest and settings over a folder.

    No data is at hand, and another `utils` is on the path before the course's own.
    """
    (folder / "other").mkdir()
    (folder / "other/utils.py").touch()
    hidden = "COURSE_", "PYTEST_", "OMP_"
    env = {name: value for name, value in os.environ.items() if not name.startswith(hidden)}
    env |= {"PYTHONPATH": f"{folder / 'other'}{os.pathsep}{ROOT}", "PYTHONHASHSEED": "random"}
    env["COURSE_CACHE"] = str(folder / "no-data")
    settings = ["-c", str(ROOT / "pyproject.toml"), "--rootdir", ".", "-p", "conftest"]
    command = [sys.executable, "-m", "pytest", *settings, "--nbval", "-rfp", *options, "."]
    return subprocess.run(command, cwd=folder, env=env, capture_output=True, text=True, check=False)


def failed(result):
    """Return the notebooks and numbers of the cells that failed, and how many passed."""
    cells = re.findall(r"^FAILED (\w+)\.ipynb::Cell (\d+)", result.stdout, re.MULTILINE)
    passed = int(re.search(r"(\d+) passed", result.stdout)[1])
    return {(notebook, int(number)) for notebook, number in cells}, passed


def write(path, cells):
    nbformat.write(notebook(*cells), path)


def test_outputs_of_every_kind_are_compared_but_not_stderr_and_pictures(tmp_path):
    cells = []
    for kind in ("plain", "html", "latex", "markdown", "svg+xml", "png"):
        mime = f"{'image' if kind in ('svg+xml', 'png') else 'text'}/{kind}"
        source = f"from IPython.display import display\ndisplay({{'{mime}': '41'}}, raw=True)"
        stored = ([new_output("display_data", {mime: said})] for said in ("41", "42"))
        cells += [(source, outputs, []) for outputs in stored]
    for name in ("stderr", "stdout"):
        source = f"import sys\nprint({SAID!r}, end='', file=sys.{name})"
        for change in [("", ""), *CHANGES]:
            outputs = [new_output("stream", name=name, text=SAID.replace(*change))]
            cells.append((source, outputs, []))
    write(tmp_path / "one.ipynb", cells)
    result = run(tmp_path)
    first_changed = len(cells) - len(CHANGES)  # 11 is png, 13 and on stderr
    different = [1, 3, 5, 7, 9, *range(first_changed, len(cells))]
    as_stored = len(cells) - len(different)
    assert failed(result) == ({("one", number) for number in different}, as_stored), result.stdout


def test_report_counts_the_cells_of_each_notebook_also_in_parallel(tmp_path):
    """A cell that came to another worker than the first one would not know its value."""
    for name in ("one", "two"):
        write(tmp_path / f"{name}.ipynb", KNOWN)
    result = run(tmp_path, "-n", "2", "--dist", "loadgroup")
    assert result.returncode == 0, result.stdout
    report = result.stdout.partition(REPORT)[2]
    for name in ("one", "two"):
        counts = "2 compared; executed only: data not at hand 1, no text 1, training or time 1\n"
        assert f"\n{name}.ipynb: {counts}" in report, result.stdout


def test_cells_of_a_data_set_that_is_there_are_compared(tmp_path):
    write(tmp_path / "one.ipynb", KNOWN)
    plugin = "from utils import datasets\ndatasets.locate = lambda name: 'here'\n"
    (tmp_path / "data_is_here.py").write_text(plugin)
    result = run(tmp_path, "-p", "data_is_here")
    assert failed(result) == ({("one", 4)}, 4), result.stdout
    counts = "3 compared; executed only: no text 1, training or time 1\n"
    assert f"\none.ipynb: {counts}" in result.stdout.partition(REPORT)[2], result.stdout


def test_a_broken_cell_fails_and_a_kernel_that_died_is_given_up(tmp_path, pytestconfig):
    """After the time of one cell, which pyproject.toml sets far below nbval's own."""
    for name in ("cell", "kernel"):
        broken = (BROKEN[name][0], "", [])
        write(tmp_path / f"{name}.ipynb", [("print(1)", "1\n", []), broken, ("2;", "", [])])
    result = run(tmp_path, "--nbval-cell-timeout=5")
    assert failed(result) == ({("cell", 1), ("kernel", 1)}, 3), result.stdout
    assert "Timeout of 5 seconds exceeded while executing cell" in result.stdout
    assert BROKEN["cell"][1] in re.sub(r"\x1b\[[\d;]*m", "", result.stdout)  # colours
    assert pytestconfig.getoption("nbval_cell_timeout") <= 300
