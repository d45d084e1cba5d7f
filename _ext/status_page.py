"""Sphinx extension: what pages say of their record, and the tables of the page "Build status"."""

import nbformat
from compare import code_cells, data_tags, digest, provenance, sampled_tags
from sphinx.util.docutils import SphinxDirective

LINE = (
    "Recorded on {shown[date]} on {shown[device]} with {shown[versions]}{own}. This build ran it "
    "again on {run[device]}, on the {run[profile]} profile with {run[data]}: {claims} claims held, "
    "{open} left open, {equal} of {compared} compared outputs as recorded. [Status](/pages/status)"
)


def data_of(run):
    """Return in words what data a run had."""
    if tags := ", ".join(sorted(sampled_tags(run))):
        return f"a sample for {tags.replace('data-', '').replace('-', '_')}"
    return "the real data" if data_tags(*code_cells(run)) else "no data set"


def facts(name, chapter):
    """Return {name: fact} of a chapter's record and of this build's run, for text and tables."""
    record, run = (
        notebook.metadata.record | provenance(notebook) | {"data": data_of(notebook)}
        for notebook in (chapter.record, chapter.run)
    )
    changed = [name for name in ("helpers", "versions") if record[name] != run[name]]
    return {
        "chapter": f"[](/{name})",
        "changed": ", ".join(changed) or "nothing",
        "own": ", by this build itself" if chapter.shows_run() else "",
        **dict(zip(("claims", "open", "equal", "compared"), chapter.verdict(), strict=True)),
        **{"record": record, "run": run, "shown": run if chapter.shows_run() else record},
    }


def put_on_page(app, docname, source):
    """Let the page of a chapter show what it has to show, and the line under its title."""
    if chapter := app.chapters.get(docname):
        shown, line = chapter.shown(), LINE.format(**facts(docname, chapter))
        title, _, rest = shown.cells[0].source.partition("\n")
        shown.cells[0].source = f"{title}\n\n:::{{div}} record-line\n{line}\n:::\n{rest}"
        source[0] = nbformat.writes(shown)


def outdated(app, env, added, changed, removed):
    """Return the pages on which something of the runs has changed since they were read."""
    now = {n: [facts(n, c), digest(nbformat.writes(c.shown()))] for n, c in app.chapters.items()}
    before, env.chapter_facts = getattr(env, "chapter_facts", {}), now
    pages = [name for name in now if before.get(name) != now[name]]
    return [*pages, "pages/status"] if pages or before.keys() - now.keys() else []


class ChapterRows(SphinxDirective):
    """A table whose last line is repeated for each chapter, with its facts in the braces."""

    has_content = True

    def run(self):
        """Return the table's nodes."""
        *head, row = self.content
        rows = [row.format(**facts(*item)) for item in self.env.app.chapters.items()]
        return self.parse_text_to_nodes("\n".join([*head, *rows]))


def setup(app):
    app.add_directive("chapter-rows", ChapterRows)
    app.connect("source-read", put_on_page)
    app.connect("env-get-outdated", outdated)
    return {"version": "1", "parallel_read_safe": True, "parallel_write_safe": True}
