"""Sphinx extension: where the repository is, and the buttons that lead to it and into the cloud."""

import os
import re
import subprocess
from contextlib import suppress
from functools import cache
from pathlib import Path

from sphinx.errors import ExtensionError

BRANCH = "notebooks"  # which publishing writes, and nobody else
LAUNCHERS = {
    "Colab": "https://colab.research.google.com/github/{}/blob/{}/{}.ipynb",
    "Kaggle": "https://kaggle.com/kernels/welcome?src=https://github.com/{}/blob/{}/{}.ipynb",
}
ADDRESS = re.compile(
    r"https://github\.com(/[\w.-]+){2}|https?://(?!github\.com/)[\w.:-]+(/[\w.~-]+)+|file:///\S+"
)
EXPECTED = "expected one such as https://github.com/OWNER/NAME"


@cache
def git(*words):
    """Return what git says of this project, or nothing where it cannot."""
    command = ["git", f"--git-dir={Path(__file__).parents[1] / '.git'}", *words]
    with suppress(OSError, subprocess.CalledProcessError):
        return subprocess.check_output(command, stderr=subprocess.DEVNULL, text=True).strip()
    return ""


def normal(url):
    """Return an address as a browser needs it, without a key.

    git@HOST:OWNER/NAME.git and https://KEY@HOST/OWNER/NAME.git become https://HOST/OWNER/NAME.
    """
    url = re.sub(r"^(?!\w+://)[\w.-]+@([^:/]+):/?", r"ssh://\1/", url.strip())
    url = re.sub(r"^(\w+://).*@", r"\1", url)
    url = re.sub(r"^ssh://([^:/]+)(:\d+)?/", r"https://\1/", url)
    github = r"^https://((ssh|www)\.)?github\.com(:443)?/"
    url = re.sub(github, "https://github.com/", url, flags=re.I)
    return url.rstrip("/").removesuffix(".git")


def address():
    """Return the repository's address, or nothing where it is not known.

    COURSE_REPO_URL says it, else GitHub's workflows do, else the remote that a clone came from.
    """
    name = os.environ.get("GITHUB_REPOSITORY")
    server = os.environ.get("GITHUB_SERVER_URL", "https://github.com")
    given = os.environ.get("COURSE_REPO_URL", name and f"{server}/{name}")
    url = normal(git("remote", "get-url", "origin") if given is None else given)
    if given and not ADDRESS.fullmatch(url):
        variable = "COURSE_REPO_URL" if "COURSE_REPO_URL" in os.environ else "GITHUB_REPOSITORY"
        raise ExtensionError(f"{variable} is no address: {url}; {EXPECTED}")
    return url if ADDRESS.fullmatch(url) else ""  # a remote can be a folder


def commit():
    """Return the commit that this project stands at, or nothing where it is no clone."""
    return git("rev-parse", "HEAD")


def launch(url, path):
    """Return {service: address that opens the copy of a chapter there}, which GitHub's have."""
    found = re.fullmatch(r"https://github\.com/([^/]+/[^/]+)", url)
    return {of: to.format(found[1], BRANCH, path) for of, to in LAUNCHERS.items() if found}


def show_repository(app, config):
    """Let the theme put its buttons for a repository on GitHub on every page."""
    options = {"launch_buttons": {}}  # the theme's own would open chapters that cannot run there
    if launch(url := address(), ""):
        options |= {"repository_url": url, "repository_provider": "github"}
        options["repository_branch"] = os.environ.get("COURSE_REPO_BRANCH") or "main"
        options |= {f"use_{of}_button": True for of in ("repository", "edit_page", "issues")}
    config.html_theme_options = {**config.html_theme_options, **options}


def add_launchers(app, pagename, templatename, context, doctree):
    """Put the buttons that open a chapter's copy beside those of the theme."""
    found = launch(address(), pagename) if pagename.startswith("chapters/") else {}
    shown = {"type": "link", "tooltip": "Run this chapter, with nothing to install"}
    buttons = [{**shown, "text": f"Open in {of}", "url": url} for of, url in found.items()]
    group = {"type": "group", "icon": "fas fa-rocket", "label": "launch-buttons"}
    if buttons:
        context["header_buttons"].insert(0, {**group, "tooltip": "Run", "buttons": buttons})


def setup(app):
    app.connect("config-inited", show_repository)
    app.connect("html-page-context", add_launchers, priority=600)  # the theme's come first
    return {"version": "1", "parallel_read_safe": True, "parallel_write_safe": True}
