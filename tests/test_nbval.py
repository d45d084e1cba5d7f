"""nbval really compares: an altered output of each compared kind makes pytest fail."""

import shutil
import subprocess
import sys
from pathlib import Path

import nbformat
from nbformat.v4 import new_code_cell, new_notebook, new_output

ROOT = Path(__file__).parent.parent
KERNEL = {"name": "python3", "display_name": "Python 3", "language": "python"}
CELLS = {  # source: what it prints, or the value it ends with
    "import torch\nprint(tuple(torch.zeros(2, 28).shape))": "(2, 28)\n",
    "print(f'{sum(range(60)):,} tokens')": "1,770 tokens\n",
    "print(f'{torch.arange(4.0).std():.2f}')": "1.29\n",
    "' '.join(['the', 'time', 'traveller'])": "'the time traveller'",
}


def notebook(outputs, tags=()):
    """Return a notebook of CELLS that stores the outputs given."""
    cells = []
    for number, (source, output) in enumerate(zip(CELLS, outputs, strict=True), start=1):
        if source.startswith("'"):
            stored = new_output("execute_result", {"text/plain": output}, execution_count=number)
        else:
            stored = new_output("stream", name="stdout", text=output)
        cell = new_code_cell(source, outputs=[stored], execution_count=number)
        cell.metadata.tags = list(tags)
        cells.append(cell)
    return new_notebook(cells=cells, metadata={"kernelspec": KERNEL})


def run(folder, outputs, found=None, **kwargs):
    """Run nbval with the project's conftest over one notebook; return pytest's result.

    found is where every data set is said to be, None for nowhere.
    """
    nbformat.write(notebook(outputs, **kwargs), folder / "cells.ipynb")
    shutil.copy(ROOT / "_ext" / "checked_cells.py", folder)
    conftest = (ROOT / "conftest.py").read_text(encoding="utf8")
    (folder / "conftest.py").write_text(f"{conftest}\ndatasets.locate = lambda name: {found!r}\n")
    (folder / "pytest.ini").write_text("[pytest]\n")
    return subprocess.run(
        [sys.executable, "-m", "pytest", "--nbval", "-p", "no:cacheprovider", "cells.ipynb"],
        cwd=folder,
        capture_output=True,
        text=True,
        check=False,
    )


def test_true_outputs_pass(tmp_path):
    result = run(tmp_path, CELLS.values())
    assert result.returncode == 0 and "4 passed" in result.stdout, result.stdout


def test_changed_outputs_fail(tmp_path):
    """A digit of a shape, of a count, of a float, and a word."""
    changes = [("28", "27"), ("1,770", "1,771"), ("1.29", "1.28"), ("time", "tide")]
    outputs = [text.replace(*change) for text, change in zip(CELLS.values(), changes, strict=True)]
    result = run(tmp_path, outputs)
    assert result.returncode == 1 and "4 failed" in result.stdout, result.stdout


def test_cells_of_a_missing_data_set_run_without_comparison(tmp_path):
    wrong = ["(0, 0)\n", "0 tokens\n", "0.00\n", "'nothing'"]
    result = run(tmp_path, wrong, tags=["data-time-machine"])
    assert result.returncode == 0 and "4 passed" in result.stdout, result.stdout


def test_cells_of_a_data_set_that_is_there_are_compared(tmp_path):
    wrong = ["(0, 0)\n", "0 tokens\n", "0.00\n", "'nothing'"]
    result = run(tmp_path, wrong, found="here", tags=["data-time-machine"])
    assert result.returncode == 1 and "4 failed" in result.stdout, result.stdout
