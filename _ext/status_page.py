"""Sphinx extension: what pages say of their record, and the tables of the page "Build status"."""

import nbformat
from compare import code_cells, data_tags, provenance, sampled_tags
from sphinx.util.docutils import SphinxDirective

STATUS = "pages/status"
LINE = (
    "Recorded on {date}, {device}, {versions}. {again} on {run}: {claims} claims held, "
    "{same} of {all} compared outputs are as recorded. [Build status](/pages/status)"
)
RECORD = "chapter", "recorded on", "seconds", "device", "versions", "changed since"
RUN = "chapter", "executed on", "seconds", "device", "profile", "data", "claims held", "as recorded"


def data_of(run):
    """Return in words what data a run had."""
    names = sorted(tag.removeprefix("data-").replace("-", "_") for tag in sampled_tags(run))
    if names:
        return f"a sample for {', '.join(names)}"
    return "the real data" if data_tags(*code_cells(run)) else "no data set"


def line(chapter):
    """Return the line that says where the outputs of a page come from, and what checked them."""
    now = provenance(chapter.run)
    return LINE.format(
        date=chapter.record.metadata.record.date,
        **provenance(chapter.record),
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


def record_row(chapter, facts, run):
    """Return the cells of RECORD: where and when a chapter was recorded, what changed since."""
    record, now = chapter.record.metadata.record, chapter.run.metadata.record
    changed = ["helpers"] * (record.helpers != now.helpers)
    changed += ["versions"] * (facts["versions"] != run["versions"])
    since = ", ".join(changed) or "nothing"
    return record.date, record.seconds, facts["device"], facts["versions"], since


def run_row(chapter, facts, run):
    """Return the cells of RUN: how this build executed a chapter, and what it found."""
    now = chapter.run.metadata.record
    claims, same, compared = chapter.verdict()
    settings = run["device"], run["profile"], data_of(chapter.run)
    return now.date, now.seconds, *settings, claims, f"{same} of {compared}"


class StatusTable(SphinxDirective):
    """`{status-table} record` or `run`: a row for each chapter."""

    required_arguments = 1

    def run(self):
        """Return the table's nodes."""
        headings, row = {"record": (RECORD, record_row), "run": (RUN, run_row)}[self.arguments[0]]
        rows = [headings, ["---"] * len(headings)]
        for name, chapter in self.env.app.chapters.items():
            cells = row(chapter, provenance(chapter.record), provenance(chapter.run))
            rows.append([f"[](/{name})", *cells])
        text = "\n".join(f"| {' | '.join(map(str, cells))} |" for cells in rows)
        return self.parse_text_to_nodes(text)


def setup(app):
    """Connect the functions above to Sphinx's events."""
    app.add_directive("status-table", StatusTable)
    app.connect("source-read", put_on_page)
    app.connect("env-get-outdated", outdated)
    return {"version": "1", "parallel_read_safe": True, "parallel_write_safe": True}
