"""Sphinx extension: every build executes every chapter and judges the run; pages show the record.

The record is the outputs stored in chapters/*.ipynb. A run is kept in _build/runs until something
changes that it depends on. A run on the full profile with the real data is a newer record, and is
shown in its place. `make record` runs this file: it stores what chapters give as their record.
"""

import copy
import hashlib
import os
import platform
import shutil
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from tempfile import TemporaryDirectory

import compare
import nbformat
import surroundings
from nbclient import NotebookClient
from sphinx.util import logging

CORES = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
LIVE = surroundings.ROOT / "_static/live"  # where the panels find their model
WORKERS = min(4, CORES)  # notebooks that are executed at a time
TOLD = "executed {}: {} s, {} claims held, {} left open, {} of {} compared outputs as recorded"
logger = logging.getLogger(__name__)


def execute(notebook, folder, live=""):
    """Execute a notebook in place and note in its metadata how; raise what nbclient raises.

    live: a folder for the models that it exports to the site, if any.
    """
    begin, env = time.monotonic(), os.environ | {"PYTHONPATH": surroundings.python_path(folder)}
    options = {"timeout": 3600, "coalesce_streams": True, "record_timing": False}
    options |= {"force_raise_errors": True, "skip_cells_with_tag": ""}  # no tag lets a cell off
    options["extra_arguments"] = ["--log-level=ERROR"]  # no word on how messages travel
    client = NotebookClient(notebook, resources={"metadata": {"path": str(folder)}}, **options)
    today, helpers = datetime.now(UTC).date().isoformat(), files_hash(surroundings.ROOT)
    client.execute(env=env | {"COURSE_LIVE": live})
    seconds = round(time.monotonic() - begin)
    notebook.metadata["record"] = {"date": today, "helpers": helpers, "seconds": seconds}
    notebook.metadata.record["seal"] = compare.seal(notebook)


def store(notebook, path):
    """Write a notebook, whole or not at all."""
    nbformat.write(notebook, path.with_suffix(".part"))
    os.replace(path.with_suffix(".part"), path)


def files_hash(root, *patterns):
    """Return a hash of the names and contents of the helpers, and of the files of patterns."""
    h, patterns = hashlib.sha256(), ["utils/*.py", "utils/*.toml", "utils/samples/*", *patterns]
    for path in sorted(path for pattern in patterns for path in root.glob(pattern)):
        h.update(path.relative_to(root).as_posix().encode() + path.read_bytes())
    return h.hexdigest()[:16]


def run_key(root, notebook, absent):
    """Return all that a run depends on; absent: tags of data sets that are not at hand."""
    files = files_hash(root, "requirements*.txt", "constraints.txt")
    settings = platform.python_version(), *surroundings.settings()
    tags = compare.data_tags(*compare.code_cells(notebook))
    return [compare.code_hash(notebook), files, *settings, *sorted(absent & tags)]


class Chapter:
    """A chapter's record and this build's run of it."""

    def __init__(self, path, runs):
        self.path, self.kept, self.name = path, runs / path.name, f"chapters/{path.stem}"
        self.record, self.run, self.error = nbformat.read(path, as_version=4), None, None

    def find_run(self, root, missing):
        """Take up the run that an earlier build has kept, where nothing changed since."""
        with suppress(Exception):  # there is none, or it is damaged
            run = nbformat.read(self.kept, as_version=4)
            if run.metadata.key == run_key(root, self.record, missing) and compare.belongs(run):
                self.run = run

    def make_run(self, root):
        """Execute the chapter, keep what it gave unless a cell failed, and tell how it went."""
        run, key = copy.deepcopy(self.record), run_key(root, self.record, set())  # as it is now
        try:
            execute(run, self.path.parent)
        except Exception as error:  # of a cell, or of the kernel
            self.error = error
            logger.info(f"executed {self.name}: FAILED")
            return
        run.metadata["key"] = key + sorted(compare.sampled_tags(run))
        self.kept.parent.mkdir(parents=True, exist_ok=True)
        store(run, self.kept)
        self.run = run
        logger.info(TOLD.format(self.name, run.metadata.record.seconds, *self.verdict()))

    def comparisons(self):
        """Return (source, recorded, now) of every compared cell."""
        return compare.compared(self.record, self.run, compare.sampled_tags(self.run))

    def failures(self):
        """Return in words what failed: the run, or an output that is not the recorded one."""
        if self.error:
            return [f"{self.name}: {self.error}"]
        return [
            f"{self.name}: the output of this cell is not the recorded one.\n{source}\n"
            f"recorded: {dict(recorded)}\nnow:      {dict(now)}"
            for source, recorded, now in self.comparisons()
            if recorded != now
        ]

    def verdict(self):
        """Return how many claims held and were open, how many outputs are equal, of how many."""
        marks = [line[:2] for line in compare.printed(*compare.code_cells(self.run))]
        same = [recorded == now for _, recorded, now in self.comparisons()]
        return marks.count("✓ "), marks.count("– "), sum(same), len(same)

    def shows_run(self):
        """Return whether the run is a record, too: on the full profile, with the real data."""
        is_full = compare.provenance(self.run)["profile"] == "full"
        return is_full and not compare.sampled_tags(self.run)

    def shown(self):
        """Return the notebook for the page."""
        shown, source = copy.deepcopy(self.record), self.run if self.shows_run() else self.record
        for cell, given in zip(*map(compare.code_cells, (shown, source)), strict=True):
            cell.outputs = given.outputs
        return shown


def run_chapters(app):
    """Execute the chapters whose run is not kept, several at a time; let no failure pass."""
    app.chapters, root = {}, Path(app.srcdir)
    if app.builder.format != "html":  # such as that of `make linkcheck`
        return
    sys.path.insert(0, str(root))
    try:
        surroundings.python_path(root / "chapters"), surroundings.settings()
    except (ImportError, ValueError) as error:
        sys.exit(str(error))
    missing, runs = compare.missing_tags(), Path(app.outdir).parent / "runs"
    chapters = [Chapter(path, runs) for path in sorted((root / "chapters").glob("*.ipynb"))]
    if stale := [f"{c.name}.ipynb" for c in chapters if not compare.belongs(c.record)]:
        command = f'make record NOTEBOOKS="{" ".join(stale)}"'
        sys.exit(f"Code or outputs are not what was recorded: {command}")
    for chapter in chapters:
        chapter.find_run(root, missing)
    waiting = [chapter for chapter in reversed(chapters) if not chapter.run]  # the longest first
    os.environ.setdefault("OMP_NUM_THREADS", str(CORES // WORKERS))  # of each kernel
    with ThreadPoolExecutor(WORKERS) as pool:
        list(pool.map(lambda chapter: chapter.make_run(root), waiting))
    if failures := [words for chapter in chapters for words in chapter.failures()]:
        sys.exit("\n\n".join(failures))
    app.chapters = {chapter.name: chapter for chapter in chapters}


def record(path):
    """Store what a chapter gives in its file, and its model for the site in _static/live.

    Where a cell fails, all of them stay as they were.
    """
    notebook = nbformat.read(path, as_version=4)
    with TemporaryDirectory() as folder:
        execute(notebook, path.parent, folder)
        written = nbformat.read(path, as_version=4)  # its text may have changed meanwhile
        for cell, given in zip(*map(compare.code_cells, (written, notebook)), strict=True):
            cell.outputs, cell.execution_count = given.outputs, given.execution_count
        written.metadata["record"] = notebook.metadata["record"]
        store(written, path)
        for file in Path(folder).iterdir():
            shutil.copy(file, LIVE / file.name)
    print(f"{path.name} recorded in {written.metadata.record.seconds:,} s", flush=True)


def setup(app):
    app.connect("builder-inited", run_chapters)
    return {"version": "1", "parallel_read_safe": True, "parallel_write_safe": True}


if __name__ == "__main__":
    for name in sys.argv[1:]:
        record(Path(name))
