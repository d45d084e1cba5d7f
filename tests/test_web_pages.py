"""How pages are written, in a book of two: what fails, and what a known address adds."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
CONF = """
extensions = ["myst_parser", "sphinx_book_theme", "web_pages"]
project, html_theme, html_math_renderer = "Book", "sphinx_book_theme", "mathml"
myst_enable_extensions, myst_substitutions = ["dollarmath"], {}
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
    """Return a function that writes the page, builds the book and returns the finished process."""
    (tmp_path / "conf.py").write_text(CONF)
    (tmp_path / "index.md").write_text(INDEX)
    for name in ("_templates", "_static"):
        shutil.copytree(ROOT / name, tmp_path / name)
    (tmp_path / "chapters").mkdir()

    def build(page, **env):
        (tmp_path / "chapters/one.md").write_text(page)
        env = {**os.environ, "PYTHONPATH": str(ROOT / "_ext"), **env}
        command = [sys.executable, "-m", "sphinx", "-W", "--keep-going", "-q", ".", "html"]
        return subprocess.run(command, cwd=tmp_path, env=env, capture_output=True, text=True)

    return build


@pytest.mark.parametrize("formula", [r"\unknown", r"\frac{1}", r"\begin{aligned} 1", "{x"])
def test_what_is_no_formula_fails_the_build(build, formula):
    run = build(f"# One\n\nHere ${formula}$ stands.\n")
    assert run.returncode == 1
    assert re.search(r"one\.md:3: WARNING: no formula: " + re.escape(formula), run.stderr)


def test_known_address_stands_in_head_and_sitemap_and_on_the_page_for_the_lost(build, tmp_path):
    run = build(PAGE, COURSE_SITE_URL="https://example.org/course")
    assert run.returncode == 0, run.stderr
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
    run = build(PAGE, COURSE_SITE_URL="")
    assert run.returncode == 0, run.stderr
    page = (tmp_path / "html/chapters/one.html").read_text("utf8")
    assert 'og:image" content="../_static/card.png"' in page
    assert not (tmp_path / "html/sitemap.xml").exists()
