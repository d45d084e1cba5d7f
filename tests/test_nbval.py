"""nbval really checks: a changed output fails, and so does a broken cell; the report counts."""

import itertools
import os
import re
import subprocess
import sys
from pathlib import Path

import nbformat
from broken import BROKEN
from nbformat.v4 import new_code_cell, new_notebook, new_output

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT / "_ext"))
from compare import data_tags, how_checked  # noqa: E402

CHAPTER = ROOT / "chapters/01_sequence_models.ipynb"  # it needs no data set
KERNEL = {"name": "python3", "display_name": "Python 3", "language": "python"}
REPORT = "cells compared with their stored outputs, or executed only"
KINDS = {  # what a stored output says: how to find it, its group being the character to change
    "shape": r"\(\d*(\d),[ \d,]*\)",
    "count": r": [\d,]+ = [\d,]*(\d)$",
    "float": r"\d\.\d*(\d)",
    "sentence": r"[a-z]+ [a-z]+ [a-z]+ [a-z]*([a-z])",
}
KNOWN = [  # source, what is stored, tags; what is stored of the last two is wrong
    ("value = 6 * 7; value;", "", []),
    ("print(value)", "42\n", []),
    ("import os\nprint(*map(os.environ.get, ['OMP_NUM_THREADS', 'PYTHONHASHSEED']))", "2 0\n", []),
    ("print(value)", "about 40\n", ["nbval-ignore-output"]),
    ("print(value)", "41\n", ["data-time-machine"]),
]


def run(folder, *options):
    """Run nbval with the project's conftest and settings, and no data at hand, over a folder."""
    hidden = "COURSE_", "PYTEST_", "OMP_"
    env = {name: value for name, value in os.environ.items() if not name.startswith(hidden)}
    env |= {"PYTHONPATH": str(ROOT), "PYTHONHASHSEED": "random"}
    env["COURSE_CACHE"] = str(folder / "no-data")
    settings = ["-c", str(ROOT / "pyproject.toml"), "--rootdir", ".", "-p", "conftest"]
    command = [sys.executable, "-m", "pytest", *settings, "--nbval", "-rfp", *options, "."]
    return subprocess.run(command, cwd=folder, env=env, capture_output=True, text=True, check=False)


def outcomes(result):
    """Return {"PASSED" or "FAILED": the notebooks and numbers of the cells}."""
    lines = re.findall(r"^([A-Z]+) (\w+)\.ipynb::Cell (\d+)", result.stdout, re.MULTILINE)
    found = {"PASSED": set(), "FAILED": set()}
    for outcome, notebook, number in lines:
        found[outcome].add((notebook, int(number)))
    return found


def write(path, cells):
    """Write a notebook of cells given as (source, outputs or what was printed, tags)."""
    notebook = new_notebook(metadata={"kernelspec": KERNEL})
    for number, (source, outputs, tags) in enumerate(cells, start=1):
        if isinstance(outputs, str):
            outputs = [new_output("stream", name="stdout", text=outputs)] if outputs else []
        cell = new_code_cell(source, outputs=outputs, execution_count=number)
        cell.metadata.tags = tags
        notebook.cells.append(cell)
    nbformat.write(notebook, path)


def untrained(path):
    """Return a chapter's code cells up to the first that trains, which take seconds."""
    code = (cell for cell in nbformat.read(path, as_version=4).cells if cell.cell_type == "code")
    return list(itertools.takewhile(lambda c: how_checked(c, set()) != "training or time", code))


def change(cell, pattern):
    """Change one character of what a cell printed; return whether there was one to change."""
    if how_checked(cell, data_tags(cell)) != "compared":
        return False
    for output in cell.outputs:
        if found := re.search(pattern, output.get("text", ""), re.MULTILINE):
            place = found.start(1)
            other = chr(ord(output.text[place]) ^ 1)  # makes another digit of a digit
            output.text = output.text[:place] + other + output.text[place + 1 :]
            return True
    return False


def test_a_changed_character_of_each_kind_fails_its_cell_alone(tmp_path):
    cells = untrained(CHAPTER)
    changed = set()
    for pattern in KINDS.values():
        rest = (number for number in range(len(cells)) if number not in changed)
        changed.add(next(number for number in rest if change(cells[number], pattern)))
    notebook = new_notebook(cells=cells, metadata={"kernelspec": KERNEL})
    nbformat.write(notebook, tmp_path / "chapter.ipynb")
    result = run(tmp_path)
    assert outcomes(result) == {
        "FAILED": {("chapter", number) for number in changed},
        "PASSED": {("chapter", number) for number in range(len(cells)) if number not in changed},
    }, result.stdout
    details, _, summary = result.stdout.partition("short test summary info")
    assert summary  # where CI is set, pytest repeats the reasons there
    assert details.count("Cell outputs differ") == len(KINDS)


def test_outputs_of_every_kind_are_compared_but_not_stderr_and_pictures(tmp_path):
    """Each kind twice: as it is stored, and with another number stored."""
    shown = ["text/plain", "text/html", "text/latex", "text/markdown", "image/svg+xml"]
    cells = []
    for kind in [*shown, "image/png"]:
        source = f"from IPython.display import display\ndisplay({{'{kind}': '41'}}, raw=True)"
        cells += [(source, [new_output("display_data", {kind: said})], []) for said in ("41", "42")]
    for name in ("stdout", "stderr"):
        source = f"import sys\nprint(41, file=sys.{name})"
        said = [[new_output("stream", name=name, text=text)] for text in ("41\n", "42\n")]
        cells += [(source, outputs, []) for outputs in said]
    write(tmp_path / "one.ipynb", cells)
    result = run(tmp_path)
    different = {("one", number) for number in (1, 3, 5, 7, 9, 13)}  # 11 is png, 15 is stderr
    assert outcomes(result) == {
        "FAILED": different,
        "PASSED": {("one", number) for number in range(len(cells))} - different,
    }, result.stdout


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
    assert outcomes(result)["FAILED"] == {("one", 4)}, result.stdout
    counts = "3 compared; executed only: no text 1, training or time 1\n"
    assert f"\none.ipynb: {counts}" in result.stdout.partition(REPORT)[2], result.stdout


def test_broken_cells_fail(tmp_path):
    broken = {name: cell for name, cell in BROKEN.items() if name != "kernel"}
    for name, (source, _) in broken.items():
        write(tmp_path / f"{name}.ipynb", [("print(1)", "1\n", []), (source, "", [])])
    result = run(tmp_path)
    assert outcomes(result) == {
        "PASSED": {(name, 0) for name in broken},
        "FAILED": {(name, 1) for name in broken},
    }, result.stdout
    output = re.sub(r"\x1b\[[\d;]*m", "", result.stdout)  # colours
    for _, words in broken.values():
        assert words in output


def test_a_kernel_that_died_is_given_up(tmp_path, pytestconfig):
    """After the time of one cell, which pyproject.toml sets far below nbval's own."""
    died = BROKEN["kernel"][0]
    write(tmp_path / "one.ipynb", [("print(1)", "1\n", []), (died, "", []), ("2", "", [])])
    result = run(tmp_path, "--nbval-cell-timeout=5")
    assert outcomes(result) == {"PASSED": {("one", 0)}, "FAILED": {("one", 1)}}, result.stdout
    assert "Timeout of 5 seconds exceeded while executing cell" in result.stdout
    assert "1 failed, 1 passed, 1 xfailed" in result.stdout
    assert pytestconfig.getoption("nbval_cell_timeout") <= 300
