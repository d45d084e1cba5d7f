"""Sphinx extension: launch buttons, notes on samples, docstrings as prose."""

import os
import posixpath
import re

from docutils import nodes
from myst_nb.ext.glue.utils import PendingGlueReference
from sphinx import addnodes

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
SAMPLE_TITLE = "Made with an embedded sample"
SAMPLE_TEXT = (
    "A data set of this page could not be had when the page was built. A short text written for "
    "this course stands in. The code is the same, but numbers and generated text are not those of "
    "the real data. "
)
SAMPLE_LINK = "How to get the data"


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


def note_samples(app, doctree):
    """Say at the top of a page that an embedded sample stands in for a data set on it."""
    cells = (n for n in doctree.findall(nodes.container) if n.get("nb_element"))
    outputs = (n.astext() for n in cells if n["nb_element"] == "cell_code_output")
    if any("SampleWarning" in output for output in outputs):
        paragraph = nodes.paragraph("", SAMPLE_TEXT)
        if "pages/running" in app.env.found_docs:
            paragraph += [link(app.env.docname, "/pages/running", SAMPLE_LINK), nodes.Text(".")]
        note = nodes.admonition("", nodes.title("", SAMPLE_TITLE), paragraph)
        note["classes"] += ["warning", "sample-note"]
        heading = next(doctree.findall(nodes.title))
        heading.parent.insert(heading.parent.index(heading) + 1, note)


def link(docname, target, text):
    """Return a link from one page to another."""
    return addnodes.pending_xref(
        "",
        nodes.inline("", text),
        refdoc=docname,
        refdomain="std",
        reftype="doc",
        reftarget=target,
        refexplicit=True,
        refwarn=True,
    )


def root_glue(app, doctree):
    """Let {glue:text}`chapters/NAME.ipynb::key` mean the same on every page of the book.

    myst-nb takes the path from the page's own folder, where there is no folder `chapters`.
    """
    folder = posixpath.dirname(app.env.docname) or "."
    for node in doctree.findall(PendingGlueReference):
        if node["refdoc"] not in app.env.found_docs:
            node["refdoc"] = posixpath.relpath(node["refdoc"], folder)


def plain_docstring(app, what, name, obj, options, lines):
    """Keep reStructuredText from reading markup into docstrings, which are plain prose.

    `code` in backticks is code, and so is an indented block. * | _ and backslashes stand for
    themselves.
    """
    prose, code = [], False
    for line in lines:
        began, code = code, line.startswith("    ") and (code or not any(prose[-1:]))
        if code:
            prose += [line] if began else ["::", "", line]
        else:
            parts = line.strip().split("`")
            parts[::2] = [re.sub(r"[\\*|_]", r"\\\g<0>", part) for part in parts[::2]]
            prose.append("``".join(parts))
    lines[:] = prose


def setup(app):
    """Connect the functions above to Sphinx's events."""
    app.connect("config-inited", set_repository)
    app.connect("doctree-read", note_samples)
    app.connect("doctree-read", root_glue)
    app.connect("autodoc-process-docstring", plain_docstring)
    return {"version": "1", "parallel_read_safe": True, "parallel_write_safe": True}
