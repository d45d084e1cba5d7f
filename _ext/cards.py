"""Sphinx extension: the cards of the home page, made of what the notebooks say of themselves."""

import base64
import io
from pathlib import Path

import nbformat
import yaml
from docutils import nodes
from docutils.statemachine import StringList
from PIL import Image, ImageOps
from sphinx.util.docutils import SphinxDirective

SIZE = 336, 192  # pixels of a card's picture: twice what the page shows
CARD = """- ![{alt}](/{picture})
  [{number}. {title}](/{path})

  {description}
"""


def parts(root):
    """Return {caption: its chapters} of the book's numbered parts, in reading order."""
    toc = yaml.safe_load((root / "_toc.yml").read_text(encoding="utf8"))
    numbered = [part for part in toc["parts"] if part.get("numbered")]
    return {p["caption"]: [chapter(root, page["file"]) for page in p["chapters"]] for p in numbered}


def chapter(root, name):
    """Return what a notebook says of itself, and the cell that drew the figure of its card."""
    notebook = nbformat.read(root / f"{name}.ipynb", as_version=4)
    figures = {c.metadata.get("mystnb", {}).get("figure", {}).get("name"): c for c in notebook.cells}
    cell = figures[notebook.metadata.course.figure]
    return {
        "path": f"{name}.ipynb",
        "number": int(Path(name).name[:2]),
        "title": notebook.cells[0].source.splitlines()[0].removeprefix("# "),
        "description": notebook.metadata.myst.html_meta["description lang=en"],
        "alt": cell.metadata.mystnb.image.alt,
        "figure": next(o.data["image/png"] for o in cell.outputs if "image/png" in o.get("data", {})),
        "picture": f"_build/cards/{Path(name).name}.webp",
    }


def draw(figure, file):
    """Save a stored figure on white and as small as a card."""
    image = Image.open(io.BytesIO(base64.b64decode(figure))).convert("RGBA")
    image = Image.alpha_composite(Image.new("RGBA", image.size, "white"), image).convert("RGB")
    file.parent.mkdir(parents=True, exist_ok=True)
    ImageOps.pad(image, SIZE, color="white").save(file, "WEBP", quality=80, method=6)


class Cards(SphinxDirective):
    """`{cards}`: a section for each part of the book, with a card for each of its chapters."""

    def run(self):
        """Return the sections; the page is read again when a notebook or the order changes."""
        root, text, page = Path(self.env.srcdir), "", nodes.Element()
        for caption, chapters in parts(root).items():
            text += f"## {caption}\n\n:::{{container}} cards\n"
            for found in chapters:
                draw(found["figure"], root / found["picture"])
                self.env.note_dependency(found["path"])
                text += CARD.format(**found)
            text += ":::\n\n"
        self.env.note_dependency("_toc.yml")
        self.state.nested_parse(StringList(text.splitlines()), 0, page, match_titles=True)
        return page.children


def setup(app):
    """Give Sphinx the directive."""
    app.add_directive("cards", Cards)
    return {"version": "1", "parallel_read_safe": True, "parallel_write_safe": True}
