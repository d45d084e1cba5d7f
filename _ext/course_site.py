"""Sphinx extension: launch buttons, docstrings as prose, MathJax on the site."""

import importlib.util
import os
import posixpath
import shutil
from pathlib import Path

from myst_nb.ext.glue.utils import PendingGlueReference

MATHJAX = [  # 3 MB of 24: TeX in, HTML out, and the explorer that screen readers use
    "tex-mml-chtml.js",
    "input/tex/extensions",
    "output/chtml/fonts/woff-v2",
    "a11y",
    "sre/mathmaps/base.json",
    "sre/mathmaps/en.json",
]
COLAB = """```ipython3
!git clone --depth 1 {} course
%cd course
%pip install -q pooch myst-nb
%pip install -q --no-deps -r requirements-nodeps.txt
```"""
NO_COLAB = (
    "*(This copy of the site was built without the address of its repository, so the cell cannot "
    "be shown. Set `COURSE_REPO_URL` and build again.)*"
)


def set_repository(app, config):
    """Show launch buttons, and the cell for Colab, where COURSE_REPO_URL is set."""
    url = os.environ.get("COURSE_REPO_URL", "").rstrip("/")
    options = {**config.html_theme_options, "launch_buttons": {}}
    if url:
        options |= {
            "repository_url": url,
            "repository_branch": os.environ.get("COURSE_REPO_BRANCH", "main"),
            "path_to_docs": os.environ.get("COURSE_REPO_PATH", ""),
            "launch_buttons": {"colab_url": "https://colab.research.google.com"},
            "use_repository_button": True,
            "use_issues_button": True,
        }
    config.html_theme_options = options
    colab = COLAB.format(url) if url else NO_COLAB
    config.myst_substitutions = {**config.myst_substitutions, "colab": colab}


def root_glue(app, doctree):
    """Let {glue:text}`chapters/NAME.ipynb::key` mean the same on every page of the book.

    myst-nb takes the path from the page's own folder, where there is no folder `chapters`.
    """
    folder = posixpath.dirname(app.env.docname) or "."
    for node in doctree.findall(PendingGlueReference):
        if node["refdoc"] not in app.env.found_docs:
            node["refdoc"] = posixpath.relpath(node["refdoc"], folder)


def copy_mathjax(app, exception):
    """Put MathJax beside the pages, so that formulas need no other host."""
    if exception or app.builder.format != "html":
        return
    package = Path(importlib.util.find_spec("sphinx-mathjax-offline").origin).parent
    for name in MATHJAX:
        source = package / "static/mathjax" / name
        target = Path(app.outdir) / "_static/mathjax" / name
        target.parent.mkdir(parents=True, exist_ok=True)
        if source.is_dir():
            shutil.copytree(source, target, dirs_exist_ok=True)
        else:
            shutil.copyfile(source, target)


def setup(app):
    """Connect the functions above to Sphinx's events."""
    app.connect("config-inited", set_repository)
    app.connect("doctree-read", root_glue)
    app.connect("build-finished", copy_mathjax)
    return {"version": "1", "parallel_read_safe": True, "parallel_write_safe": True}
