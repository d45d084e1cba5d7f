"""How the tests check a code cell's output: compared with the stored one, or executed only."""


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


def data_tags(cell):
    """Return the tags of a cell that name a data set."""
    return {tag for tag in cell.metadata.get("tags", []) if tag.startswith("data-")}
