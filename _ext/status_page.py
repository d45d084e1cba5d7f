"""Sphinx extension: the line under a chapter's title, and the tables of the page "Build status"."""

import json
from pathlib import Path

from chapter_runs import is_record, verdict
from compare import code_cells, data_tags, how_checked, provenance, sampled_tags
from docutils import nodes
from sphinx import addnodes
from sphinx.util.docutils import SphinxDirective

STATUS = "pages/status"
LINE = "Recorded on {recorded}. {again} on {run}: {verdict}. "
NO_BENCHMARK = "*(No run is stored. `make bench` measures one.)*"


def surroundings(notebook):
    """Return in words where a notebook was executed."""
    facts = provenance(notebook)
    return f"{facts['device']}, {facts['versions']}"


def data_of(run):
    """Return in words what data a run had."""
    names = sorted(tag.removeprefix("data-").replace("-", "_") for tag in sampled_tags(run))
    if names:
        return f"a sample for {', '.join(names)}"
    return "the real data" if data_tags(*code_cells(run)) else "no data set"


def words(chapter):
    """Return the line that says where the outputs of a page come from, and what checked them."""
    run = chapter.run
    where = f"{surroundings(run)}, {provenance(run)['profile']} profile, {data_of(run)}"
    return LINE.format(
        recorded=f"{chapter.record.metadata.record.date}, {surroundings(chapter.record)}",
        again="Shown here is this build's own run" if is_record(run) else "Executed again",
        run=where,
        verdict=verdict(chapter),
    )


def put_under_title(app, doctree):
    """Put the line of a chapter under its title, with a link to the status page."""
    chapter = app.chapters.get(app.env.docname)
    if chapter:
        title = next(doctree.findall(nodes.title))
        target = {"refdomain": "std", "reftype": "doc", "reftarget": f"/{STATUS}", "refwarn": True}
        target |= {"refdoc": app.env.docname, "refexplicit": True}
        link = addnodes.pending_xref("", nodes.inline("", "Build status"), **target)
        line = nodes.paragraph("", words(chapter), link, nodes.Text("."), classes=["record-line"])
        title.parent.insert(title.parent.index(title) + 1, line)


def outdated(app, env, added, changed, removed):
    """Return the pages on which something of the runs has changed since they were read."""
    before = getattr(env, "chapter_lines", {})
    env.chapter_lines = {name: words(chapter) for name, chapter in app.chapters.items()}
    changed = [name for name, line in env.chapter_lines.items() if before.get(name) != line]
    return [*changed, *[STATUS] * bool(changed)]


class StatusTable(SphinxDirective):
    """One of the tables of the status page, by name: record, run, cells or speed."""

    required_arguments = 1

    def run(self):
        """Return the table's nodes."""
        make = {"record": record_rows, "run": run_rows, "cells": cell_rows}.get(self.arguments[0])
        chapters = self.env.app.chapters
        if make:
            return self.parse_text_to_nodes(table([make(*item) for item in chapters.items()]))
        path = Path(self.env.srcdir) / "benchmarks" / "last.json"
        if path.exists():
            self.env.note_dependency(path)
        return self.parse_text_to_nodes(benchmark_table(path))


def name_of(docname):
    """Return a link to a page, with its title for words."""
    return f"[](/{docname})"


def record_rows(docname, chapter):
    """Return {heading: value}: where and when a chapter was recorded."""
    record, run = chapter.record.metadata.record, chapter.run
    versions = provenance(chapter.record)["versions"]
    since = [
        *["helpers"] * (record.helpers != run.metadata.record.helpers),
        *["versions"] * (versions != provenance(run)["versions"]),
    ]
    return {
        "Chapter": name_of(docname),
        "recorded on": record.date,
        "seconds": record.seconds,
        "device": provenance(chapter.record)["device"],
        "versions": versions,
        "changed since": ", ".join(since) or "nothing",
    }


def run_rows(docname, chapter):
    """Return {heading: value}: how this build executed a chapter, and what it found."""
    facts, run = provenance(chapter.run), chapter.run
    claims, outputs = verdict(chapter).split(", ")
    return {
        "Chapter": name_of(docname),
        "executed on": run.metadata.record.date,
        "seconds": run.metadata.record.seconds,
        "device": facts["device"],
        "profile": facts["profile"],
        "data": data_of(run),
        "claims held": claims.split()[0],
        "outputs as recorded": outputs.removesuffix(" compared outputs equal"),
    }


def cell_rows(docname, chapter):
    """Return {heading: value}: how many code cells of a chapter are checked in which way."""
    cells = code_cells(chapter.record)
    counts = [how_checked(cell, missing=data_tags(cell)) for cell in cells]
    headings = {
        "always": "compared",
        "with the data": "data not at hand",
        "training, time": "training or time",
        "no text": "no text",
    }
    return {"Chapter": name_of(docname)} | {h: counts.count(how) for h, how in headings.items()}


def benchmark_table(path):
    """Return a Markdown table of the stored benchmark, with the hardware that it ran on."""
    if not path.exists():
        return NO_BENCHMARK
    stored = json.loads(path.read_text(encoding="utf-8"))
    headings = "Ratio of speeds", "smallest", "median", "largest"
    rows = [
        dict(zip(headings, [name, *(f"{ratio:.2f}" for ratio in row)], strict=True))
        for name, row in stored["ratios"].items()
    ]
    where = ", ".join(f"{name} {value}" for name, value in stored["hardware"].items())
    return f"{table(rows)}\n\nMeasured on {stored['date']}: {where}."


def table(rows):
    """Return rows, each {heading: value}, as a Markdown table."""
    cells = [list(rows[0]), ["---"] * len(rows[0]), *(row.values() for row in rows)]
    return "\n".join(f"| {' | '.join(map(str, line))} |" for line in cells)


def setup(app):
    """Connect the functions above to Sphinx's events."""
    app.add_directive("status-table", StatusTable)
    app.connect("doctree-read", put_under_title)
    app.connect("env-get-outdated", outdated)
    return {"version": "1", "parallel_read_safe": True, "parallel_write_safe": True}
