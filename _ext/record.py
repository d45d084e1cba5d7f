"""Execute notebooks and store their outputs in them: `python _ext/record.py chapters/*.ipynb`."""

import sys
from pathlib import Path

import nbformat
from chapter_runs import execute


def record(path):
    """Store what a notebook gives in its file, and return how long it took in seconds.

    Raises what a cell raised, and leaves the file as it was.
    """
    notebook = nbformat.read(path, as_version=4)
    execute(notebook, path.parent)
    nbformat.write(notebook, path)
    return notebook.metadata.record.seconds


if __name__ == "__main__":
    for path in map(Path, sys.argv[1:]):
        print(f"{path.name} recorded in {record(path):,} s", flush=True)
