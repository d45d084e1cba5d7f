"""Sphinx extension: what pages say of their record, and the tables of the page "Build status"."""

import json
from pathlib import Path

import nbformat
from compare import code_cells, data_tags, provenance, sampled_tags
from sphinx.util.docutils import SphinxDirective

STATUS = "pages/status"
LINE = (
    "Recorded on {date}, {device}, {versions}. {again} on {run}: {claims} claims held, "
    "{same} of {all} compared outputs are as recorded. [Build status](/pages/status)"
)


def data_of(run):
    """Return in words what data a run had."""
    names = sorted(tag.removeprefix("data-").replace("-", "_") for tag in sampled_tags(run))
    if names:
        return f"a sample for {', '.join(names)}"
    return "the real data" if data_tags(*code_cells(run)) else "no data set"


def line(chapter):
    """Return the line that says where the outputs of a page come from, and what checked them."""
    record, now = provenance(chapter.record), provenance(chapter.run)
    return LINE.format(
        date=chapter.record.metadata.record.date,
        **record,
        again="Shown here is this build's own run" if chapter.shows_run() else "Executed again",
        run=f"{now['device']}, {now['versions']}, {now['profile']} profile, {data_of(chapter.run)}",
        **dict(zip(("claims", "same", "all"), chapter.verdict(), strict=True)),
    )


def put_on_page(app, docname, source):
    """Let the page of a chapter show what it has to show, and the line under its title."""
    if chapter := app.chapters.get(docname):
        shown = chapter.shown()
        title, _, rest = shown.cells[0].source.partition("\n")
        shown.cells[0].source = f"{title}\n\n:::{{div}} record-line\n{line(chapter)}\n:::\n{rest}"
        source[0] = nbformat.writes(shown)


def outdated(app, env, added, changed, removed):
    """Return the pages on which something of the runs has changed since they were read."""
    before = getattr(env, "chapter_lines", {})
    env.chapter_lines = {name: line(chapter) for name, chapter in app.chapters.items()}
    pages = [name for name, words in env.chapter_lines.items() if before.get(name) != words]
    return pages and [*pages, STATUS]


class StatusTable(SphinxDirective):
    """One of the tables of the status page, by name: record, run or speed."""

    required_arguments = 1

    def run(self):
        """Return the table's nodes."""
        (name,) = self.arguments
        if name == "speed":
            path = Path(self.env.srcdir) / "benchmarks/last.json"
            self.env.note_dependency(path)
            return self.parse_text_to_nodes(benchmark_table(path))
        row = {"record": record_row, "run": run_row}[name]
        return self.parse_text_to_nodes(table(map(row, self.env.app.chapters.values())))


def record_row(chapter):
    """Return {heading: value}: where and when a chapter was recorded, and what changed since."""
    record, run = chapter.record.metadata.record, chapter.run.metadata.record
    facts = provenance(chapter.record)
    same = record.helpers == run.helpers, facts["versions"] == provenance(chapter.run)["versions"]
    changed = [
        name for name, is_same in zip(("helpers", "versions"), same, strict=True) if not is_same
    ]
    return {
        "Chapter": f"[](/chapters/{chapter.path.stem})",
        "recorded on": record.date,
        "seconds": record.seconds,
        "device": facts["device"],
        "versions": facts["versions"],
        "changed since": ", ".join(changed) or "nothing",
    }


def run_row(chapter):
    """Return {heading: value}: how this build executed a chapter, and what it found."""
    facts, record = provenance(chapter.run), chapter.run.metadata.record
    claims, same, all_compared = chapter.verdict()
    return {
        "Chapter": f"[](/chapters/{chapter.path.stem})",
        "executed on": record.date,
        "seconds": record.seconds,
        "device": facts["device"],
        "profile": facts["profile"],
        "data": data_of(chapter.run),
        "code cells": len(code_cells(chapter.run)),
        "claims held": claims,
        "compared outputs as recorded": f"{same} of {all_compared}",
    }


def benchmark_table(path):
    """Return a Markdown table of the stored benchmark, with the hardware that it ran on."""
    stored = json.loads(path.read_text(encoding="utf-8"))
    headings = "Ratio of speeds", "smallest", "median", "largest"
    rows = [[name, *(f"{ratio:.2f}" for ratio in row)] for name, row in stored["ratios"].items()]
    where = ", ".join(f"{name} {value}" for name, value in stored["hardware"].items())
    rows = table(dict(zip(headings, row, strict=True)) for row in rows)
    return f"{rows}\n\nMeasured on {stored['date']}: {where}."


def table(rows):
    """Return rows, each {heading: value}, as a Markdown table."""
    rows = list(rows)
    if not rows:  # a builder that executes nothing, such as that of `make linkcheck`
        return ""
    lines = [rows[0], ["---"] * len(rows[0]), *(row.values() for row in rows)]
    return "\n".join(f"| {' | '.join(map(str, line))} |" for line in lines)


def setup(app):
    """Connect the functions above to Sphinx's events."""
    app.add_directive("status-table", StatusTable)
    app.connect("source-read", put_on_page)
    app.connect("env-get-outdated", outdated)
    return {"version": "1", "parallel_read_safe": True, "parallel_write_safe": True}
