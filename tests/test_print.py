"""A chapter on paper, printed while the screen is dark: dark on white, whole, solutions closed."""

import ctypes
import re

import numpy as np
import pypdfium2 as pdfium
import pytest
from browser import settle
from compare import printed
from notebooks import SITE
from test_browser import chapter, chromium, needs_browser, new_page, title  # noqa: F401

NAME = "chapters/04_rnn_from_scratch"
MARGIN = 16 / 25.4 * 72  # points
pytestmark = [needs_browser, pytest.mark.xdist_group("browser 0")]


@pytest.fixture(scope="module")
def pages(chromium, tmp_path_factory):  # noqa: F811
    page = new_page(chromium, theme="dark")
    page.goto((SITE / f"{NAME}.html").as_uri())
    settle(page)
    path = tmp_path_factory.mktemp("paper") / "chapter.pdf"
    page.pdf(path=path)
    assert page.locator("html").get_attribute("data-theme") == "dark"  # again
    page.close()
    return list(pdfium.PdfDocument(path))


def bare(text):
    """Return a text without spaces and line ends, which paper sets in its own way."""
    return "".join(text.split())


def lines(shown):
    """Return the lines of code and of output of the chapter: those that paper shows, or not."""
    found, in_solution = [], False
    for cell in chapter(NAME).cells:
        for border in re.findall("{solution-(start|end)}", cell.source):
            in_solution = border == "start"
        if cell.cell_type == "code" and in_solution != shown:
            found += printed(cell)
            if "hide-input" not in cell.metadata.get("tags", []):
                found += cell.source.splitlines()
    return [line for line in found if len(line) > 30]


def letters(text):
    """Return (right edge in points, luminance) of each letter and digit of a page."""
    color = [ctypes.c_uint() for _ in range(4)]
    for i in range(text.count_chars()):
        if text.get_text_range(i, 1).isalnum():
            pdfium.raw.FPDFText_GetFillColor(text, i, *map(ctypes.byref, color))
            linear = [((part.value / 255 + 0.055) / 1.055) ** 2.4 for part in color[:3]]
            light = float(np.dot(linear, [0.2126, 0.7152, 0.0722]))
            yield text.get_charbox(i)[2], light


def test_title_and_every_line_are_there_but_for_solutions_which_are_named(pages):
    paper = bare("".join(page.get_textpage().get_text_bounded() for page in pages))
    assert paper.startswith(bare(f"4. {title(NAME)}"))
    shown, hidden = ([bare(line) for line in lines(shown)] for shown in (True, False))
    assert len(shown) > 100 and [line for line in shown if line not in paper] == []
    hidden = [line for line in hidden if line not in "".join(shown)]
    assert len(hidden) > 10 and [line for line in hidden if line in paper] == []
    solutions = [cell for cell in chapter(NAME).cells if "{solution-start}" in cell.source]
    assert paper.count("isonthesite") == len(solutions)


def test_text_is_dark_on_white_and_ends_before_the_margin(pages):
    for page in pages:
        dots = np.asarray(page.render().to_pil().convert("L"))
        assert (dots > 250).mean() > 0.6 and dots.min() < 80
        rights, lights = zip(*letters(page.get_textpage()), strict=True)
        assert max(rights) < page.get_width() - MARGIN + 1
        assert max(lights) < 0.18  # contrast with white of more than 4.5
