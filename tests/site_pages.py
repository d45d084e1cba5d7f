"""What tests read off the files of a built site."""

import base64
import copy
import hashlib
import re
import threading
from contextlib import contextmanager
from functools import cache, partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

from bs4 import BeautifulSoup
from compare import code_cells


@contextmanager
def served(folder):
    """Serve a folder to this machine; give its address."""
    handler = partial(SimpleHTTPRequestHandler, directory=folder)
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


@cache
def parsed(page, changed):
    """Return a page as it was after its last change, parsed."""
    return BeautifulSoup(page.read_text("utf-8"), "html.parser")


def soup(page):
    """Return a page, parsed; whoever asks takes nothing out of it."""
    return parsed(page, page.stat().st_mtime_ns)


def without_colours(text):
    """Return a text of the terminal without its colours."""
    return re.sub(r"\x1b\[[\d;]*m", "", text)


def words(text):
    """Return a text without its differences of white space and of colours."""
    return " ".join(without_colours(text).split())


def stored(cell):
    """Return what a cell's outputs say as text, and the hashes of their pictures."""
    texts, pictures = [], []
    for output in cell.outputs:
        data = output.get("data", {})
        if "image/png" in data:
            pictures.append(hashlib.sha256(base64.b64decode(data["image/png"])).hexdigest())
        else:
            html = BeautifulSoup(data.get("text/html", ""), "html.parser").get_text(" ")
            texts.append(html or output.get("text", data.get("text/plain", "")))
    return words(" ".join(texts)), pictures


def shown(cell, page):
    """Return what a cell of a page says below its code, and the hashes of its pictures there."""
    output = cell.select_one("div.cell_output")
    if output is None:
        return "", []
    pictures = [page.parent / image["src"] for image in output.select("img")]
    hashes = [hashlib.sha256(Path(picture).read_bytes()).hexdigest() for picture in pictures]
    output = copy.copy(output)
    for figure in output.select("figure"):
        figure.decompose()  # its caption is no output
    return words(output.get_text(" ")), hashes


def unlike(page, notebook):
    """Return the code cells whose outputs do not stand on a page, each as (source, there, here)."""
    cells, there = code_cells(notebook), soup(page).select("div.cell")
    assert len(cells) == len(there), f"{page.name}: {len(there)} cells, not {len(cells)}"
    pairs = [(cell, stored(cell), shown(div, page)) for cell, div in zip(cells, there, strict=True)]
    return [(cell.source, there, here) for cell, there, here in pairs if there != here]
