"""Sphinx extension: the tables of the page "Build status"."""

import json
from collections import Counter
from pathlib import Path

import nbformat
from checked_cells import data_tags, how_checked
from docutils import nodes
from myst_nb.sphinx_ import NbMetadataCollector

COLUMNS = {  # heading: what checked_cells says of a cell
    "always": "compared",
    "with the data": "data not at hand",
    "training, time": "training or time",
    "no text": "no text",
}
NO_BENCHMARK = "*(No run is stored. `make bench` measures one.)*"


def fill_tables(app, config):
    """Let {{ checked }} and {{ benchmarks }} stand for the tables of this project."""
    root = Path(app.srcdir)
    config.myst_substitutions = {
        **config.myst_substitutions,
        "checked": checked_table(sorted((root / "chapters").glob("*.ipynb"))),
        "benchmarks": benchmark_table(root / "benchmarks" / "last.json"),
    }


def checked_table(paths):
    """Return a Markdown table: how many code cells of each notebook are checked in which way."""
    rows = [["Chapter", *COLUMNS]]
    for path in paths:
        cells = nbformat.read(path, as_version=4).cells
        title = cells[0].source.splitlines()[0].lstrip("# ")
        code = (cell for cell in cells if cell.cell_type == "code")
        counts = Counter(how_checked(cell, missing=data_tags(cell)) for cell in code)
        rows.append([title, *(counts[how] for how in COLUMNS.values())])
    return table(rows)


def benchmark_table(path):
    """Return a Markdown table of the stored benchmark, with the hardware that it ran on."""
    if not path.exists():
        return NO_BENCHMARK
    stored = json.loads(path.read_text(encoding="utf-8"))
    rows = [["Ratio of speeds", "smallest", "median", "largest"]]
    rows += [[name, *(f"{ratio:.2f}" for ratio in row)] for name, row in stored["ratios"].items()]
    where = ", ".join(f"{name} {value}" for name, value in stored["hardware"].items())
    return f"{table(rows)}\n\nMeasured on {stored['date']}: {where}."


def table(rows):
    """Return rows, the first of them the heading, as a Markdown table."""
    head, *body = ([str(value) for value in row] for row in rows)
    lines = [head, ["---"] + ["--:"] * (len(head) - 1), *body]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def word_status(app, doctree, docname):
    """Write the table of executed notebooks in words: titles and results, for names and emoji."""
    if not NbMetadataCollector.get_doc_data(app.env)[docname].get("has_exec_table"):
        return
    words = {"✅": "passed", "❌": "failed"}
    words |= {name: title.astext() for name, title in app.env.titles.items()}
    for found in doctree.findall(nodes.table):
        for text in list(found.findall(nodes.Text)):
            text.parent.replace(text, nodes.Text(words.get(text, text)))


def setup(app):
    """Connect the functions above to Sphinx's events."""
    app.connect("config-inited", fill_tables)
    app.connect("doctree-resolved", word_status)
    return {"version": "1", "parallel_read_safe": True, "parallel_write_safe": True}
