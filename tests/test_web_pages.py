"""How pages are written, in a book of two: what fails, and what a known address adds."""

import base64
import os
import re
import shutil
import subprocess
import sys

import nbformat
import pytest
import yaml
from nbformat.v4 import new_markdown_cell, new_output
from notebooks import ROOT, notebook
from site_pages import soup

CONF = """
extensions = ["myst_parser", "sphinx_book_theme", "web_pages", "cards"]
project, html_theme, html_math_renderer = "Book", "sphinx_book_theme", "mathml"
myst_enable_extensions, myst_substitutions = ["colon_fence", "dollarmath"], {}
templates_path, html_static_path = ["_templates"], ["_static"]
html_additional_pages = {"404": "404.html"}
html_context = {"default_mode": "auto"}
"""
INDEX = """# Book

```{toctree}
chapters/one
```
"""
PAGE = r"""---
myst:
  html_meta:
    "description lang=en": "One \"formula\" & its number."
---
# One

$$\mathbf{h}_t = \begin{cases} 0 & t = 0 \\ \tanh(a_t) & t > 0 \end{cases}$$ (eq-state)

See {eq}`eq-state`, where $\tilde{a}_t$ grows.
"""


@pytest.fixture
def build(tmp_path):
    (tmp_path / "conf.py").write_text(CONF)
    (tmp_path / "index.md").write_text(INDEX)
    for name in ("_templates", "_static"):
        shutil.copytree(ROOT / name, tmp_path / name)
    (tmp_path / "chapters").mkdir()

    def build(page=PAGE, code=0, **env):
        (tmp_path / "chapters/one.md").write_text(page)
        env = {**os.environ, "PYTHONPATH": str(ROOT / "_ext"), **env}
        command = [sys.executable, "-m", "sphinx", "-W", "--keep-going", "-q", ".", "html"]
        run = subprocess.run(command, cwd=tmp_path, env=env, capture_output=True, text=True)
        assert run.returncode == code, run.stderr
        return run.stderr

    return build


@pytest.mark.parametrize("formula", [r"\unknown", r"\frac{1}", r"\begin{aligned} 1", "{x"])
def test_what_is_no_formula_fails_the_build(build, formula):
    said = build(f"# One\n\nHere ${formula}$ stands.\n", code=1)
    assert re.search(r"one\.md:3: WARNING: no formula: " + re.escape(formula), said)


def test_known_address_stands_in_head_and_sitemap_and_on_the_page_for_the_lost(build, tmp_path):
    build(COURSE_SITE_URL="https://example.org/course")
    html = tmp_path / "html"
    page = (html / "chapters/one.html").read_text("utf8")
    assert '<meta content="One &quot;formula&quot; &amp; its number." lang="en"' in page
    assert 'og:description" content="One &#34;formula&#34; &amp; its number."' in page
    assert 'og:image" content="https://example.org/course/_static/card.png"' in page
    assert '<link rel="canonical" href="https://example.org/course/chapters/one.html" />' in page
    assert '<span class="eqno">(1)<' in page and '<a class="reference internal" href="#eq' in page
    sitemap = (html / "sitemap.xml").read_text("utf8")
    assert "<loc>https://example.org/course/chapters/one.html</loc>" in sitemap
    lost = (html / "404.html").read_text("utf8")
    assert lost.index('<base href="https://example.org/course/"/>') < lost.index("<link")
    assert "Page not found" in lost


def test_unknown_address_leaves_the_picture_beside_the_page_and_no_sitemap(build, tmp_path):
    build(COURSE_SITE_URL="")
    page = (tmp_path / "html/chapters/one.html").read_text("utf8")
    assert 'og:image" content="../_static/card.png"' in page
    assert not (tmp_path / "html/sitemap.xml").exists()


def with_card(title):
    made = notebook(new_markdown_cell(f"# {title}"), "draw()")
    png = base64.b64encode((ROOT / "_static/card.png").read_bytes()).decode()
    made.cells[1].outputs = [new_output("display_data", {"image/png": png})]
    made.cells[1].metadata.mystnb = {"figure": {"name": "fig-a"}, "image": {"alt": "A figure"}}
    made.metadata.course = {"figure": "fig-a"}
    made.metadata.myst = {"html_meta": {"description lang=en": "What it is about."}}
    return made


def test_a_card_follows_its_chapter(build, tmp_path):
    part = {"caption": "Part", "numbered": True, "chapters": [{"file": "chapters/07_card"}]}
    (tmp_path / "_toc.yml").write_text(yaml.safe_dump({"parts": [part]}))
    (tmp_path / "index.md").write_text(INDEX + "\n```{cards}\n```\n")
    (tmp_path / "conf.py").write_text(CONF + "suppress_warnings = ['myst.xref_missing']\n")
    for title in ("Before", "After"):
        nbformat.write(with_card(title), tmp_path / "chapters/07_card.ipynb")
        build()
        card = soup(tmp_path / "html/index.html").select_one(".cards li")
        assert f"7. {title}" in card.get_text() and "What it is about." in card.get_text()
        assert card.img["alt"] == "A figure"
        assert 2_000 < (tmp_path / "html" / card.img["src"]).stat().st_size < 10_000
