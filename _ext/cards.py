"""Sphinx extension: the cards of the home page, made of what the notebooks say of themselves."""

import base64
import io
from pathlib import Path

import nbformat
import yaml
from PIL import Image, ImageOps
from sphinx.util.docutils import SphinxDirective

CARD = "- ![{alt}](/_build/cards/{number}.webp)\n  [{number}. {title}](/{path})\n\n  {about}\n"


def parts(root):
    """Return {caption: its chapters} of the book's numbered parts, in reading order."""
    toc = yaml.safe_load((root / "_toc.yml").read_text(encoding="utf8"))["parts"]
    return {
        part["caption"]: [chapter(root, f"{page['file']}.ipynb") for page in part["chapters"]]
        for part in toc
        if part.get("numbered")
    }


def chapter(root, path):
    """Return what a notebook says of itself, and the figure of its card as a PNG file's bytes."""
    notebook = nbformat.read(root / path, as_version=4)
    drawn = {c.metadata.get("mystnb", {}).get("figure", {}).get("name"): c for c in notebook.cells}
    cell = drawn[notebook.metadata.course.figure]
    return {
        "path": path,
        "number": int(Path(path).name[:2]),
        "title": notebook.cells[0].source.splitlines()[0].removeprefix("# "),
        "about": notebook.metadata.myst.html_meta["description lang=en"],
        "alt": cell.metadata.mystnb.image.alt,
        "png": next(base64.b64decode(o.data["image/png"]) for o in cell.outputs if "data" in o),
    }


def shrink(png, file):
    """Save a figure, twice as large as the page shows it, on a ground that shows the page's."""
    file.parent.mkdir(parents=True, exist_ok=True)
    figure = Image.open(io.BytesIO(png)).convert("RGBA")
    ImageOps.pad(figure, (336, 192), color=(255, 255, 255, 0)).save(file, quality=80, method=6)


class Cards(SphinxDirective):
    """`{cards}`: a section for each part of the book, with a card for each of its chapters."""

    def run(self):
        """Return the sections; the page is read again when a notebook or the order changes."""
        root, text = Path(self.env.srcdir), ""
        self.env.note_dependency("_toc.yml")
        for caption, chapters in parts(root).items():
            for found in chapters:
                self.env.note_dependency(found["path"])
                shrink(found["png"], root / f"_build/cards/{found['number']}.webp")
            cards = "".join(CARD.format(**found) for found in chapters)
            text += f"## {caption}\n\n:::{{container}} cards\n{cards}:::\n\n"
        return self.parse_text_to_nodes(text, allow_section_headings=True)


def setup(app):
    app.add_directive("cards", Cards)
    return {"version": "1", "parallel_read_safe": True, "parallel_write_safe": True}
