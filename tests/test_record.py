"""`make record`: outputs are stored, one clean line of each progress bar; a failure stores none."""

import re
import sys
from pathlib import Path

import nbformat
import pytest
from nbclient.exceptions import CellExecutionError
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT / "_ext"))
import chapter_runs  # noqa: E402
from chapter_runs import record  # noqa: E402
from compare import belongs  # noqa: E402

KERNEL = {"name": "python3", "display_name": "Python 3", "language": "python"}
BAR = (
    "from utils.runtime import progress\nfor _ in progress(range(3), 'passes'):\n    pass\nprint(6)"
)


@pytest.fixture
def path(tmp_path):
    """Return the path of a notebook with a progress bar and without outputs."""
    cells = [new_code_cell(BAR), new_code_cell("1 + 1")]
    notebook = new_notebook(cells=cells, metadata={"kernelspec": KERNEL})
    nbformat.write(notebook, tmp_path / "one.ipynb")
    return tmp_path / "one.ipynb"


def test_outputs_are_stored_without_the_bars_earlier_states(path):
    record(path)
    notebook = nbformat.read(path, as_version=4)
    bar, value = notebook.cells
    assert set(notebook.metadata.record) == {"date", "helpers", "seconds", "seal"}
    assert [cell.execution_count for cell in (bar, value)] == [1, 2]
    (output,) = bar.outputs
    assert re.fullmatch(r"passes: 3/3 in \d\d:\d\d\n6\n", output.text), output.text
    assert value.outputs[0].data["text/plain"] == "2"
    assert "execution" not in bar.metadata
    assert [file.name for file in path.parent.iterdir()] == ["one.ipynb"]


def test_a_failure_leaves_the_file_as_it_was(path):
    notebook = nbformat.read(path, as_version=4)
    notebook.cells[1].source = "1 / 0"
    nbformat.write(notebook, path)
    before = path.read_bytes()
    with pytest.raises(CellExecutionError, match="ZeroDivisionError"):
        record(path)
    assert path.read_bytes() == before


def test_what_is_written_meanwhile_is_kept(path, monkeypatch):
    def write_then_execute(notebook, folder, execute=chapter_runs.execute):
        written = nbformat.read(path, as_version=4)
        written.cells.append(new_markdown_cell("New prose."))
        nbformat.write(written, path)
        execute(notebook, folder)

    monkeypatch.setattr(chapter_runs, "execute", write_then_execute)
    record(path)
    notebook = nbformat.read(path, as_version=4)
    assert notebook.cells[-1].source == "New prose." and notebook.cells[1].outputs


def test_a_write_that_breaks_off_leaves_the_file_as_it_was(path, monkeypatch):
    def write_half(notebook, file, write=nbformat.write):
        Path(file).write_text("{")
        raise OSError("no space left")

    before = path.read_bytes()
    monkeypatch.setattr(nbformat, "write", write_half)
    with pytest.raises(OSError, match="no space"):
        record(path)
    assert path.read_bytes() == before


@pytest.mark.parametrize(
    "typed",
    [
        lambda notebook: notebook.metadata.record.update(date="2030-01-01"),
        lambda notebook: notebook.metadata.record.update(seconds=1),
        lambda notebook: notebook.metadata.record.update(helpers="0" * 16),
        lambda notebook: notebook.cells[0].update(source="1 + 2"),
        lambda notebook: notebook.cells[1].outputs[0].data.update({"text/plain": "3"}),
        lambda notebook: notebook.cells[1].outputs.clear(),
        lambda notebook: notebook.metadata.pop("record"),
    ],
)
def test_what_was_typed_is_no_record(path, typed):
    record(path)
    notebook = nbformat.read(path, as_version=4)
    assert belongs(notebook)
    typed(notebook)
    assert not belongs(notebook)
