"""What a cell's outputs are compared with: the one place that decides it, for build and tests."""

import hashlib
from collections import defaultdict

IMAGES = "image/png", "image/jpeg"  # their dots differ from machine to machine


def code_cells(notebook):
    """Return the code cells of a notebook."""
    return [cell for cell in notebook.cells if cell.cell_type == "code"]


def code_hash(notebook):
    """Return the hash that ties outputs to the code which gave them."""
    sources = "\0".join(cell.source for cell in code_cells(notebook))
    return hashlib.sha256(sources.encode()).hexdigest()[:16]


def how_checked(cell, missing):
    """Return "compared", or why a cell is executed only; missing holds the tags of absent data."""
    tags = set(cell.metadata.get("tags", []))
    if "nbval-ignore-output" in tags:
        return "training or time"
    if not any(map(is_text, cell.outputs)):
        return "no text"
    return "data not at hand" if missing & tags else "compared"


def is_text(output):
    """Return whether an output says something in text; of a figure, text says its size only."""
    data = output.get("data", {})
    return output.get("name") == "stdout" or ("text/plain" in data and "image/png" not in data)


def missing_tags():
    """Return the tags of the data sets that are not at hand."""
    from utils import datasets  # here, since Sphinx finds this project's utils only later

    return {
        f"data-{name.replace('_', '-')}" for name in datasets.REGISTRY if not datasets.locate(name)
    }


def data_tags(*cells):
    """Return the tags of cells that name a data set."""
    return {tag for cell in cells for tag in cell.metadata.get("tags", []) if "data-" in tag}


def said(cell):
    """Return {kind: what a cell put out of it}, without stderr and pictures."""
    found = defaultdict(list)
    for output in cell.outputs:
        if output.get("name") == "stdout":
            found["stdout"].append(output.text)
        for kind, value in output.get("data", {}).items():
            if kind not in IMAGES:
                found[kind].append(value)
    return dict(found) | {"stdout": "".join(found["stdout"])}


def compared(record, run, missing):
    """Return, for each compared code cell of a record, (source, what it said, what run says)."""
    pairs = zip(code_cells(record), code_cells(run), strict=True)
    return [
        (cell.source, said(cell), said(again))
        for cell, again in pairs
        if how_checked(cell, missing) == "compared"
    ]


def claims(notebook):
    """Return how many claims the outputs of a notebook say to be true."""
    text = "\n".join(said(cell)["stdout"] for cell in code_cells(notebook))
    return sum(line.startswith("✓ ") for line in text.splitlines())


def provenance(notebook):
    """Return what the last cell of a chapter printed, {name: value}; `data` is a list."""
    pairs = [line.partition(" ") for line in said(code_cells(notebook)[-1])["stdout"].splitlines()]
    found = {"device": "", "versions": "", "profile": ""}
    found |= {name: value.strip() for name, _, value in pairs}
    return found | {"data": [value.strip() for name, _, value in pairs if name == "data"]}


def sampled_tags(notebook):
    """Return the tags of the data sets for which a sample stood in."""
    names = [line.partition(": sample: ") for line in provenance(notebook)["data"]]
    return {f"data-{name.replace('_', '-')}" for name, sample, _ in names if sample}
