"""What a cell's outputs are compared with: the one place that decides it, for build and tests."""

import hashlib
import json
from collections import defaultdict


def digest(text):
    """Return sixteen hex digits that stand for a text."""
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def code_cells(notebook):
    """Return the code cells of a notebook."""
    return [cell for cell in notebook.cells if cell.cell_type == "code"]


def code_hash(notebook):
    """Return a hash of a notebook's code."""
    return digest("\0".join(cell.source for cell in code_cells(notebook)))


def seal(notebook):
    """Return the hash that ties together code, outputs, their tags, and how they were recorded."""
    how = {**notebook.metadata.get("record", {}), "seal": None}
    told = "nbval", "data-"  # the tags that decide what is compared
    cells = [
        (c.source, c.outputs, [tag for tag in c.metadata.get("tags", []) if tag.startswith(told)])
        for c in code_cells(notebook)
    ]
    return digest(json.dumps([how, cells], sort_keys=True))


def belongs(notebook):
    """Return whether a notebook's outputs are a run's, and that of the code that stands there."""
    return notebook.metadata.get("record", {}).get("seal") == seal(notebook)


def said(cell):
    """Return {kind: what a cell put out of it}, without stderr and without pictures."""
    found = defaultdict(list)
    for output in cell.outputs:
        if output.get("name") == "stdout":
            found["stdout"].append(output.text)
        elif "image/png" not in output.get("data", {}):  # of a figure, text says its size only
            for kind, value in output.get("data", {}).items():
                found[kind].append(value)
    return found


def printed(*cells):
    """Return the lines that cells printed."""
    return "".join(text for cell in cells for text in said(cell)["stdout"]).splitlines()


def how_checked(cell, missing):
    """Return "compared", or why a cell is executed only; missing holds the tags of absent data."""
    tags = set(cell.metadata.get("tags", []))
    if "nbval-ignore-output" in tags:
        return "training or time"
    if not said(cell):
        return "no text"
    return "data not at hand" if missing & tags else "compared"


def compared(record, run, missing):
    """Return, for each compared code cell of a record, (source, what it said, what run says)."""
    return [
        (cell.source, said(cell), said(again))
        for cell, again in zip(code_cells(record), code_cells(run), strict=True)
        if how_checked(cell if said(cell) else again, missing) == "compared"
    ]


def tag(name):
    """Return the tag of cells that depend on a data set."""
    return f"data-{name.replace('_', '-')}"


def data_tags(*cells):
    """Return the tags of cells that name a data set."""
    return {
        tag for cell in cells for tag in cell.metadata.get("tags", []) if tag.startswith("data-")
    }


def missing_tags():
    """Return the tags of the data sets that are not at hand."""
    from utils import datasets  # here, since Sphinx finds this project's utils only later

    return {tag(name) for name in datasets.REGISTRY if not datasets.locate(name)}


def provenance(notebook):
    """Return what the last cell of a chapter printed, {name: value}; `data` is a list."""
    facts = {"device": "", "versions": "", "profile": "", "data": []}
    for name, _, value in (line.partition(" ") for line in printed(*code_cells(notebook)[-1:])):
        facts[name] = facts["data"] + [value.strip()] if name == "data" else value.strip()
    return facts


def sampled_tags(notebook):
    """Return the tags of the data sets for which a sample stood in."""
    found = (line.partition(": sample: ") for line in provenance(notebook)["data"])
    return {tag(name) for name, sample, _ in found if sample}
