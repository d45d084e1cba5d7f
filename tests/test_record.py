"""`make record`: outputs are stored, one clean line of each progress bar; a failure stores none."""

import contextlib
import re
from pathlib import Path
from unittest.mock import Mock

import chapter_runs
import nbformat
import pytest
from chapter_runs import record
from compare import belongs, seal
from nbclient.exceptions import CellExecutionError
from nbformat.v4 import new_markdown_cell, new_output
from notebooks import notebook, read

BAR = (
    "from utils.runtime import progress\nfor _ in progress(range(3), 'passes'):\n    pass\nprint(6)"
)


@pytest.fixture
def path(tmp_path):
    nbformat.write(notebook(BAR, "1 + 1"), tmp_path / "one.ipynb")
    return tmp_path / "one.ipynb"


def test_outputs_are_stored_without_the_bars_earlier_states(path):
    record(path)
    recorded = read(path)
    assert belongs(recorded)
    bar, value = recorded.cells
    assert set(recorded.metadata.record) == {"date", "helpers", "seconds", "seal"}
    assert [cell.execution_count for cell in (bar, value)] == [1, 2]
    (output,) = bar.outputs
    assert re.fullmatch(r"passes: 3/3 in \d\d:\d\d\n6\n", output.text), output.text
    assert value.outputs[0].data["text/plain"] == "2"
    assert "execution" not in bar.metadata
    assert [file.name for file in path.parent.iterdir()] == ["one.ipynb"]


def write_half(notebook, file):
    Path(file).write_text("{")
    raise OSError("no space left")


FAILS = Mock(side_effect=OSError("no cell"))


@pytest.mark.parametrize(
    ("of", "name", "stand_in"), [(chapter_runs, "execute", FAILS), (nbformat, "write", write_half)]
)
def test_a_failure_leaves_the_file_as_it_was(path, monkeypatch, of, name, stand_in):
    before = path.read_bytes()
    monkeypatch.setattr(of, name, stand_in)
    with pytest.raises(OSError, match="no "):
        record(path)
    assert path.read_bytes() == before


def test_a_model_for_the_site_is_put_there_once_the_record_is_stored(tmp_path, monkeypatch):
    code = "import os; from pathlib import Path\nPath(os.environ['COURSE_LIVE'], 'a.js').touch()"
    monkeypatch.setattr(chapter_runs, "LIVE", tmp_path / "live")
    chapter_runs.LIVE.mkdir()
    for last, files in {"1 / 0": [], "1 / 1": ["a.js"]}.items():
        nbformat.write(notebook(code, last), tmp_path / "one.ipynb")
        with contextlib.suppress(CellExecutionError):
            record(tmp_path / "one.ipynb")
        assert [file.name for file in chapter_runs.LIVE.iterdir()] == files


def test_what_is_written_meanwhile_is_kept(path, monkeypatch):
    def write_then_execute(notebook, folder, live, execute=chapter_runs.execute):
        written = read(path)
        written.cells.append(new_markdown_cell("New prose."))
        nbformat.write(written, path)
        execute(notebook, folder, live)

    monkeypatch.setattr(chapter_runs, "execute", write_then_execute)
    record(path)
    assert read(path).cells[-1].source == "New prose." and read(path).cells[1].outputs


@pytest.mark.parametrize(
    "typed",
    [
        lambda notebook: notebook.metadata.record.update(date="2030-01-01"),
        lambda notebook: notebook.metadata.record.update(seconds=1),
        lambda notebook: notebook.metadata.record.update(helpers="0" * 16),
        lambda notebook: notebook.cells[0].update(source="1 + 2"),
        lambda notebook: notebook.cells[1].outputs[0].data.update({"text/plain": "3"}),
        lambda notebook: notebook.cells[1].outputs.clear(),
        lambda notebook: notebook.cells[1].metadata.update(tags=["nbval-ignore-output"]),
        lambda notebook: notebook.metadata.pop("record"),
    ],
)
def test_what_was_typed_is_no_record(typed):
    made = notebook("1 + 1", "print(2)")
    made.cells[1].outputs = [new_output("execute_result", {"text/plain": "2"})]
    made.metadata["record"] = {"date": "2026-01-01", "seconds": 3, "helpers": "1" * 16}
    made.metadata.record["seal"] = seal(made)
    assert belongs(made)
    typed(made)
    assert not belongs(made)
