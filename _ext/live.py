"""Sphinx extension: panels in which a reader runs a model.

`{live} write`, `read` or `cell`: its text, what was recorded, is shown until the reader starts the
panel, where there is no JavaScript, and on paper.
"""

import re
from pathlib import Path

import compare
import nbformat
from docutils import nodes
from sphinx.util.docutils import SphinxDirective

FOLDER, MODEL, RECORD = Path("_static/live"), "verne", "chapters/10_verne.ipynb"
NEEDS = {"write": ["weights"], "read": ["weights", "ngrams"], "cell": []}
OPENS = '<div class="live" role="group" aria-label="Panel: {0}" data-panel="{0}"{1}>\n'
PART = re.compile(r'live\.receive\("[\w-]+", \d+, (\d+), "([0-9a-f]{64})", ')


def found(root, kind):
    """Return the hash of a kind of file of the model and its size in MB; None where it is not."""
    first = root / FOLDER / f"{MODEL}-{kind}-1.js"
    if not first.exists():
        return None
    parts, sha256 = PART.match(first.read_text("utf8")).groups()
    files = [first.with_name(f"{MODEL}-{kind}-{part}.js") for part in range(1, int(parts) + 1)]
    return sha256, sum(file.stat().st_size for file in files) / 1e6


def opening(root, panel):
    """Return the tag that a panel begins with: what its scripts have to know of the model."""
    kinds = {kind: found(root, kind) or ("", 0) for kind in NEEDS[panel]}
    data = {kind: sha256 for kind, (sha256, _) in kinds.items()}
    if kinds:
        size = sum(size for _, size in kinds.values())
        data |= {"model": MODEL, "size": f"{size:.1f} MB"}
    return OPENS.format(panel, "".join(f' data-{key}="{data[key]}"' for key in data))


def origin(root, panel):
    """Say in Markdown which record the model comes from; raise ValueError where it is of another.

    The chapter prints the hashes of the files that it exported.
    """
    hashes = {kind: found(root, kind) for kind in NEEDS[panel]}
    if not hashes or not all(hashes.values()):
        return ""
    notebook = nbformat.read(root / RECORD, as_version=4)
    lines, said = compare.printed(*compare.code_cells(notebook)), []
    for kind, (sha256, _) in hashes.items():
        if not any(re.match(rf"{MODEL}-{kind} .* {sha256[:12]}$", line) for line in lines):
            raise ValueError(f"{FOLDER}/{MODEL}-{kind} is not what {RECORD} recorded: record it")
        said.append(f"`{MODEL}-{kind}`, sha256 `{sha256[:12]}`")
    date = notebook.metadata.record.date
    return f"The model is that of [](/{RECORD}), {date}: {'; '.join(said)}. "


class Live(SphinxDirective):
    """A panel, around what was recorded."""

    required_arguments = 1
    has_content = True

    def run(self):
        """Return the panel; the page is read again when the model was recorded anew."""
        panel, root = self.arguments[0], Path(self.env.srcdir)
        if panel not in NEEDS:
            raise self.error(f"{panel} is no panel; these are: {', '.join(NEEDS)}")
        for kind in NEEDS[panel]:
            self.env.note_dependency(str(FOLDER / f"{MODEL}-{kind}-1.js"))
        try:
            source = self.parse_text_to_nodes(origin(root, panel) + "The program:")
        except ValueError as error:
            raise self.error(str(error)) from error
        home = "../" * self.env.docname.count("/") + str(FOLDER)
        for name in ("lstm.js", f"{panel}.js"):
            source[-1] += [nodes.Text(" "), nodes.reference("", name, refuri=f"{home}/{name}")]
        source[-1]["classes"].append("live-source")
        recorded = nodes.container(classes=["live-recorded"])
        recorded += self.parse_content_to_nodes()
        begin, end = (nodes.raw("", tag, format="html") for tag in (opening(root, panel), "</div>"))
        return [begin, recorded, *source, end]


def setup(app):
    app.add_directive("live", Live)
    return {"version": "1", "parallel_read_safe": True, "parallel_write_safe": True}
