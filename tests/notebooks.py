"""The course's notebooks as tests need them: the chapters, and notebooks of a few cells."""

import ast
from pathlib import Path
from types import SimpleNamespace

import nbformat
from compare import code_cells
from nbformat.v4 import new_code_cell, new_notebook, new_output

ROOT = Path(__file__).parents[1]
SITE = ROOT / "_build/html"
CHAPTERS = sorted((ROOT / "chapters").glob("*.ipynb"))
KERNEL = {"name": "python3", "display_name": "Python 3", "language": "python"}


def read(path):
    """Return a notebook, as its path is given or from a path within the project."""
    return nbformat.read(ROOT / path, as_version=4)


def notebook(*cells):
    """Return a notebook of cells, given as such, as (source, outputs or what was printed, tags).

    A string is the source of a code cell that was not executed.
    """
    made = new_notebook(metadata={"kernelspec": KERNEL})
    for cell in [new_code_cell(cell) if isinstance(cell, str) else cell for cell in cells]:
        if isinstance(cell, tuple):
            source, outputs, tags = cell
            if isinstance(outputs, str):
                outputs = [new_output("stream", name="stdout", text=outputs)] if outputs else []
            number = 1 + len([one for one in made.cells if one.cell_type == "code"])
            cell = new_code_cell(source, outputs=outputs, execution_count=number)
            cell.metadata.tags = tags
        made.cells.append(cell)
    return made


def binds(node):
    """Return the name that a statement defines or assigns to, if it is one of these."""
    target = node.targets[0] if isinstance(node, ast.Assign) else node
    return getattr(target, "id", getattr(target, "name", None))


def definitions(number, *names, **given):
    """Return what a chapter imports and defines under these names, without its experiments.

    given: values of other names that the definitions read, instead of the chapter's own.
    """
    first, *cells = code_cells(read(CHAPTERS[number - 1]))  # the first has the imports
    found = {}
    exec(first.source, found)
    found |= given
    for cell in cells:
        body = [node for node in ast.parse(cell.source).body if binds(node) in names]
        exec(compile(ast.Module(body, []), f"chapter {number}", "exec"), found)
    return SimpleNamespace(**found)
