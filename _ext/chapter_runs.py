"""Sphinx extension: every build executes every chapter and judges the run; pages show the record.

The record is the outputs stored in chapters/*.ipynb. A run is kept in _build/runs until something
changes that it depends on. A run on the full profile with the real data is a newer record, and is
shown in its place.
"""

import copy
import hashlib
import os
import platform
import sys
import time
from concurrent.futures import ThreadPoolExecutor, as_completed
from datetime import UTC, datetime
from pathlib import Path

import nbformat
from compare import (
    claims,
    code_cells,
    code_hash,
    compared,
    data_tags,
    missing_tags,
    provenance,
    sampled_tags,
)
from nbclient import NotebookClient
from sphinx.errors import ExtensionError
from sphinx.util import logging

CORES = os.cpu_count() or 1
WORKERS = min(4, CORES)
logger = logging.getLogger(__name__)


def execute(notebook, folder, threads=None):
    """Execute a notebook in place and note in its metadata how: code, helpers, date, seconds.

    threads: what the kernel may use, by default what PyTorch chooses. Raises what nbclient raises.
    """
    root, begin = Path(__file__).parents[1], time.monotonic()
    env = dict(os.environ, PYTHONPATH=str(root))
    if threads:
        env.setdefault("OMP_NUM_THREADS", str(threads))
    place = {"metadata": {"path": str(folder)}}
    client = NotebookClient(notebook, timeout=None, coalesce_streams=True, resources=place)
    client.extra_arguments = ["--log-level=ERROR"]  # no word on how the kernel's messages travel
    client.execute(env=env)
    for cell in code_cells(notebook):
        cell.metadata.pop("execution", None)  # times of each cell, another in every run
    notebook.metadata["record"] = {
        "code": code_hash(notebook),
        "helpers": helpers_hash(root),
        "date": datetime.now(UTC).date().isoformat(),
        "seconds": round(time.monotonic() - begin),
    }


def digest(*parts):
    """Return sixteen hex digits that stand for the given strings and bytes."""
    h = hashlib.sha256()
    for part in parts:
        h.update((part if isinstance(part, bytes) else part.encode()) + b"\0")
    return h.hexdigest()[:16]


def helpers_hash(root, *patterns):
    """Return a hash of utils, and of the files of these patterns."""
    files = [path for pattern in ("utils/**/*", *patterns) for path in root.glob(pattern)]
    files = sorted(f for f in files if f.is_file() and "__pycache__" not in f.parts)
    return digest(*(x for f in files for x in (f.relative_to(root).as_posix(), f.read_bytes())))


def run_key(root, notebook, missing):
    """Return a key of all that a run depends on; missing holds the tags of absent data sets."""
    from utils.runtime import device, profile  # this project's, once Sphinx knows where it is

    require = os.environ.get("COURSE_REQUIRE_DATA", "")
    absent = sorted(missing & data_tags(*code_cells(notebook)))
    settings = [platform.python_version(), device().type, profile(), require, *absent]
    return digest(code_hash(notebook), helpers_hash(root, "requirements*.txt"), *settings)


def is_record(run):
    """Return whether a run is worth showing: on the full profile, with the real data."""
    return provenance(run)["profile"] == "full" and not sampled_tags(run)


class Chapter:
    """A chapter's record and this build's run of it."""

    def __init__(self, path, runs):
        self.path, self.kept = path, runs / path.name
        self.record, self.run = nbformat.read(path, as_version=4), None

    @property
    def is_stale(self):
        """Whether a code cell has changed since its outputs were recorded."""
        return self.record.metadata.get("record", {}).get("code") != code_hash(self.record)

    def find_run(self, root, missing):
        """Take up the run that an earlier build has kept, where nothing changed since."""
        if self.kept.exists():
            run = nbformat.read(self.kept, as_version=4)
            if run.metadata["key"] == run_key(root, self.record, missing):
                self.run = run

    def make_run(self, root, missing):
        """Execute the chapter and keep what it gave."""
        run = copy.deepcopy(self.record)
        execute(run, self.path.parent, threads=max(1, CORES // WORKERS))
        if not sampled_tags(run):
            missing = missing_tags()  # without those that it has downloaded
        run.metadata["key"] = run_key(root, self.record, missing)
        self.kept.parent.mkdir(parents=True, exist_ok=True)
        nbformat.write(run, self.kept)
        self.run = run

    def comparisons(self):
        """Return (source, recorded, now) of every compared cell."""
        return compared(self.record, self.run, sampled_tags(self.run))

    def differences(self):
        """Return a message for every compared cell that now says something else."""
        return [
            f"{self.path.stem}: this cell's output is not the recorded one.\n{source}\n"
            f"recorded: {recorded}\nnow:      {now}"
            for source, recorded, now in self.comparisons()
            if recorded != now
        ]

    def shown(self):
        """Return the notebook for the page: this run's outputs where it is a record, too."""
        shown = copy.deepcopy(self.record)
        if is_record(self.run):
            for cell, again in zip(code_cells(shown), code_cells(self.run), strict=True):
                cell.outputs = again.outputs
        return shown


def run_chapters(app):
    """Execute the chapters whose run is not kept, several at a time; let no failure pass."""
    app.chapters = {}
    if app.builder.name != "html":
        return
    root = Path(app.srcdir)
    sys.path.insert(0, str(root))
    missing, runs = missing_tags(), Path(app.outdir).parent / "runs"
    paths = sorted((root / "chapters").glob("*.ipynb"), reverse=True)  # the longest begin first
    chapters = [Chapter(path, runs) for path in paths]
    refuse_stale(chapters)
    for chapter in chapters:
        chapter.find_run(root, missing)
    failures = make_runs([c for c in chapters if not c.run], root, missing)
    failures += [line for chapter in chapters if chapter.run for line in chapter.differences()]
    if failures:
        raise ExtensionError("\n\n".join(failures))
    app.chapters = {f"chapters/{chapter.path.stem}": chapter for chapter in reversed(chapters)}


def refuse_stale(chapters):
    """Raise ExtensionError where a record is not one of the code that stands there."""
    stale = sorted(f"chapters/{chapter.path.name}" for chapter in chapters if chapter.is_stale)
    if stale:
        command = f'make record NOTEBOOKS="{" ".join(stale)}"'
        raise ExtensionError(
            f"Code has changed since its outputs were recorded: {', '.join(stale)}.\n"
            f"Record it anew: {command}"
        )


def make_runs(chapters, root, missing):
    """Execute chapters, say how each went, and return a message for each that failed."""
    failures = []
    with ThreadPoolExecutor(WORKERS) as pool:
        futures = {pool.submit(c.make_run, root, missing): c for c in chapters}
        try:
            for number, future in enumerate(as_completed(futures), start=1):
                chapter, error = futures[future], future.exception()
                if error:
                    failures.append(f"{chapter.path.stem}: {error}")
                tell(chapter, error, f"{number}/{len(futures)}")
        except BaseException:
            pool.shutdown(cancel_futures=True)
            raise
    return failures


def tell(chapter, error, place):
    """Say in the terminal how a chapter went."""
    how = "FAILED" if error else f"{chapter.run.metadata.record.seconds} s, {verdict(chapter)}"
    logger.info(f"executed {place} {chapter.path.stem}: {how}")


def verdict(chapter):
    """Return in words what was checked of a run."""
    pairs = [(recorded, now) for _, recorded, now in chapter.comparisons()]
    equal = sum(recorded == now for recorded, now in pairs)
    return f"{claims(chapter.run)} claims held, {equal} of {len(pairs)} compared outputs equal"


def put_on_page(app, docname, source):
    """Let the page of a chapter show what it has to show."""
    if docname in app.chapters:
        source[0] = nbformat.writes(app.chapters[docname].shown())


def setup(app):
    """Connect the functions above to Sphinx's events."""
    app.connect("builder-inited", run_chapters)
    app.connect("source-read", put_on_page)
    return {"version": "1", "parallel_read_safe": True, "parallel_write_safe": True}
