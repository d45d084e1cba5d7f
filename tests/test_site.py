"""The site: failures stay, nothing runs twice, no page asks another host for anything."""

import json
import os
import re
import shutil
import subprocess
import sys
from collections import defaultdict
from html.parser import HTMLParser
from pathlib import Path
from types import SimpleNamespace

import pytest
import yaml
from broken import BROKEN

from utils import datasets

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT / "_ext"))
import draw  # noqa: E402
import notebook_cache  # noqa: E402
import status_page  # noqa: E402

SETTINGS = ("_config.yml", "_toc.yml", "references.bib", "requirements.txt")
FOLDERS = ("_ext", "_static", "_templates", "pages", "utils")
CHAPTERS = [
    chapter["file"]
    for part in yaml.safe_load((ROOT / "_toc.yml").read_text())["parts"]
    for chapter in part["chapters"]
    if chapter["file"].startswith("chapters/")
]
BREAKS = dict(zip(CHAPTERS[2:], BROKEN, strict=False))  # chapter: what is broken in it at first
SAMPLE = (
    "import warnings\nfrom utils.datasets import SampleWarning\nwarnings.warn('a', SampleWarning)"
)
FIGURE = "from utils.plotting import curves\ncurves([0, 1], {'line': [0, 1]}, 'x', 'y');"
GLUE = "from myst_nb import glue\nglue('share', 0.25, display=False)"


def notebook(name, *sources):
    """Return a notebook as JSON: a title, then the code cells, the figure's with its metadata."""
    alt = {"mystnb": {"image": {"alt": "A line that rises."}}}
    glued = f" Of these, {{glue:text}}`{name}.ipynb::share:.2f`." if GLUE in sources else ""
    cells = [{"cell_type": "markdown", "metadata": {}, "source": f"# {name}\n\n$x_t$.{glued}"}]
    cells += [
        {
            "cell_type": "code",
            "metadata": alt if source == FIGURE else {},
            "execution_count": None,
            "outputs": [],
            "source": source,
        }
        for source in sources
    ]
    cells = [{**cell, "id": f"cell-{i}"} for i, cell in enumerate(cells)]
    kernel = {"display_name": "Python 3", "language": "python", "name": "python3"}
    metadata = {"kernelspec": kernel, "language_info": {"name": "python"}}
    return json.dumps({"cells": cells, "metadata": metadata, "nbformat": 4, "nbformat_minor": 5})


class Book:
    """A copy of the project in which every chapter is a notebook of a few lines."""

    def __init__(self, folder):
        self.folder, self.html = folder, folder / "_build/html"
        for name in SETTINGS:
            shutil.copy(ROOT / name, folder / name)
        for name in FOLDERS:
            if (ROOT / name).exists():
                ignored = shutil.ignore_patterns("__pycache__")
                shutil.copytree(ROOT / name, folder / name, ignore=ignored)
        for page in ("index", "pages/glossary", "pages/names"):  # of the real chapters' contents
            (folder / f"{page}.md").write_text("# A page\n")
        (folder / "chapters").mkdir()
        stray = folder / ".venv" / "lib"  # pages of others, which are none of the book's
        stray.mkdir(parents=True)
        (stray / "README.md").write_text("## A heading out of order\n")
        for chapter in CHAPTERS[2:]:
            self.write(chapter, "1 + 1")

    def write(self, chapter, *sources):
        """Write a chapter with these code cells."""
        (self.folder / f"{chapter}.ipynb").write_text(notebook(chapter, *sources))

    def build(self):
        """Build the book as `make book` does; return the finished process."""
        program = Path(sys.executable).parent / "jupyter-book"
        env = {name: value for name, value in os.environ.items() if "COURSE_" not in name}
        env |= {"COURSE_CACHE": str(self.folder / "no-data"), "OMP_NUM_THREADS": "1"}
        command = [program, "build", ".", "-W", "-n", "--keep-going"]
        run = subprocess.run(command, cwd=self.folder, env=env, capture_output=True, text=True)
        run.stderr = re.sub(r"\x1b\[[\d;]*m", "", run.stderr)  # colours
        return run


@pytest.fixture(scope="module")
def builds(tmp_path_factory):
    """Return a book and its builds one after another, by what was done before each."""
    book, runs = Book(tmp_path_factory.mktemp("book")), {}
    book.write(CHAPTERS[0], "1 + 1", FIGURE)
    book.write(CHAPTERS[1], SAMPLE, GLUE)
    for chapter, kind in BREAKS.items():
        book.write(chapter, BROKEN[kind][0])
    runs["broken"] = book.build()
    runs["still broken"] = book.build()
    for chapter in BREAKS:
        book.write(chapter, "2 + 2")
    runs["mended"] = book.build()
    runs["unchanged"] = book.build()
    with open(book.folder / "utils/runtime.py", "a") as file:
        file.write("\n\nanswer = 42\n")
    runs["changed utils"] = book.build()
    return book, runs


def executed(run):
    """Return the names of the notebooks that a build executed."""
    return re.findall(r"^(\S+)\.ipynb executed in", run.stdout, re.MULTILINE)


def warnings(run):
    """Return {chapter: the warnings about it} of a build."""
    parts = re.split(r"^\S*/(chapters/\w+)\.ipynb: WARNING: ", run.stderr, flags=re.MULTILINE)
    found = defaultdict(str)
    for chapter, words in zip(parts[1::2], parts[2::2], strict=True):
        found[chapter] += words
    return found


@pytest.mark.parametrize("name", ["broken", "still broken"])
def test_what_is_broken_fails_until_mended(builds, name):
    """A wrong import, a false claim, an error, a dead kernel: each is named, and only these."""
    assert set(BREAKS.values()) == set(BROKEN)
    run = builds[1][name]
    assert run.returncode == 1, run.stderr
    assert set(warnings(run)) == set(BREAKS), run.stderr
    for chapter, kind in BREAKS.items():
        source, error = BROKEN[kind]
        assert source in warnings(run)[chapter] and error in warnings(run)[chapter]


def test_mended_book_has_no_warnings(builds):
    run = builds[1]["mended"]
    assert run.returncode == 0, run.stderr
    assert "WARNING" not in run.stderr


def test_only_what_changed_is_executed(builds):
    _, runs = builds
    names = {chapter: Path(chapter).name for chapter in CHAPTERS}
    broken = [names[chapter] for chapter in BREAKS]
    assert sorted(executed(runs["broken"])) == sorted(set(names.values()) - set(broken))
    assert executed(runs["still broken"]) == []
    assert sorted(executed(runs["mended"])) == broken
    assert executed(runs["unchanged"]) == []
    assert runs["unchanged"].returncode == 0, runs["unchanged"].stderr
    assert "0 added, 0 changed, 0 removed" in runs["unchanged"].stdout
    assert sorted(executed(runs["changed utils"])) == sorted(names.values())


class Tags(HTMLParser):
    """Collects the tags of a page as (name, attributes)."""

    def __init__(self, page):
        super().__init__()
        self.tags = []
        self.feed(page.read_text("utf-8"))

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))


def tags(book):
    """Return (page, tag, attributes) of every tag of every page."""
    pages = [page for page in sorted(book.html.rglob("*.html")) if page.parent.name != "_static"]
    return [(page.name, *tag) for page in pages for tag in Tags(page).tags]


def test_no_requests_to_other_hosts(builds):
    book, _ = builds
    loaded = [
        (page, attrs[name])
        for page, tag, attrs in tags(book)
        for name in ("src", "srcset", "data", "href")
        if name in attrs and tag not in ("a", "base")
    ]
    assert len(loaded) > 100
    assert not [item for item in loaded if re.match(r"(https?:)?//", item[1])]
    for sheet in book.html.rglob("*.css"):
        css = sheet.read_text("utf-8")
        assert not re.search(r"(url\(|@import)\s*[\"']?(https?:)?//", css), sheet
    assert (book.html / "_static/mathjax/tex-mml-chtml.js").exists()


def test_every_image_has_words(builds):
    book, _ = builds
    images = [(page, attrs) for page, tag, attrs in tags(book) if tag == "img"]
    assert any(attrs.get("alt") == "A line that rises." for _, attrs in images)
    for page, attrs in images:
        alt = attrs.get("alt") or ""
        assert len(alt.split()) > 2 and not re.search(r"\.(png|svg)$", alt), (page, attrs)


def test_page_made_with_a_sample_says_so(builds):
    book, _ = builds
    pages = {chapter: (book.html / f"{chapter}.html").read_text("utf-8") for chapter in CHAPTERS}
    noted = [chapter for chapter, page in pages.items() if "sample-note" in page]
    assert noted == [CHAPTERS[1]]
    assert 'href="../pages/running.html"' in pages[CHAPTERS[1]].split("sample-note")[1]


def test_glued_number_counts_its_path_from_the_top(builds):
    book, _ = builds
    page = (book.html / f"{CHAPTERS[1]}.html").read_text("utf-8")
    assert "Of these, 0.25." in re.sub("<[^>]*>", "", page)


def test_status_page_lists_every_chapter(builds):
    book, _ = builds
    status = (book.html / "pages/status.html").read_text("utf-8")
    assert status.count(">passed<") == len(CHAPTERS)


def test_status_page_counts_cells_and_has_no_benchmark_yet(builds):
    book, _ = builds
    text = re.sub("<[^>]*>", " ", (book.html / "pages/status.html").read_text("utf-8"))
    assert f"{CHAPTERS[0]} 0 0 0 2" in " ".join(text.split())  # two cells, no outputs stored
    assert "No run is stored" in text


def test_stored_benchmark_becomes_a_table(tmp_path):
    stored = {"date": "2026-01-02", "hardware": {"device": "chip"}, "ratios": {"a": [1, 2, 3]}}
    (tmp_path / "last.json").write_text(json.dumps(stored))
    rows = status_page.benchmark_table(tmp_path / "last.json").splitlines()
    assert rows[2] == "| a | 1.00 | 2.00 | 3.00 |"
    assert rows[-1] == "Measured on 2026-01-02: device chip."


def test_no_launch_buttons_without_a_repository(builds):
    book, _ = builds
    for page in book.html.rglob("*.html"):
        assert "colab.research" not in page.read_text("utf-8")


# --- The key of the cache, without a build ---


@pytest.fixture
def app(tmp_path):
    """Return what the functions need of a Sphinx application, at the start of a build."""
    (tmp_path / "utils").mkdir()
    (tmp_path / "utils/text.py").write_text("a = 1")
    app = SimpleNamespace(
        srcdir=tmp_path, outdir=tmp_path / "_build/html", config=SimpleNamespace()
    )
    app.data_paths = {"time_machine": None, "imdb": None}
    folder = notebook_cache.cache_folder(app, app.data_paths)
    app.config.nb_execution_cache_path = str(folder)
    (folder / "executed").mkdir(parents=True)
    (folder / "executed/base.ipynb").write_text("{}")
    return app


def folder_now(app, paths=None):
    return notebook_cache.cache_folder(app, paths or app.data_paths)


def test_key_follows_all_that_outputs_depend_on(app, monkeypatch):
    before = folder_now(app)
    assert folder_now(app) == before
    assert folder_now(app, {**app.data_paths, "imdb": Path("/data/imdb")}) != before
    for name, value in [("COURSE_PROFILE", "full"), ("COURSE_REQUIRE_DATA", "1")]:
        with monkeypatch.context() as context:
            context.setenv(name, value)
            assert folder_now(app) != before
    (app.srcdir / "utils/text.py").write_text("a = 2")
    assert folder_now(app) != before


@pytest.mark.parametrize("sample, moves", [(None, True), ("imdb", True), ("time_machine", False)])
def test_cache_follows_data_that_came_before_its_sample_was_used(app, monkeypatch, sample, moves):
    old, found = folder_now(app), {**app.data_paths, "time_machine": Path("/cache/timemachine.txt")}
    if sample:
        warning = str(datasets.Unavailable(datasets.REGISTRY[sample], []))
        (old / "executed/base.ipynb").write_text(json.dumps(warning))
    monkeypatch.setattr(notebook_cache, "data_paths", lambda: found)
    notebook_cache.follow_downloads(app, None)
    assert folder_now(app, found).exists() == moves
    assert old.exists() != moves


def test_cache_stays_when_utils_changed_during_the_build(app, monkeypatch):
    old, found = folder_now(app), {**app.data_paths, "time_machine": Path("/cache/timemachine.txt")}
    monkeypatch.setattr(notebook_cache, "data_paths", lambda: found)
    (app.srcdir / "utils/text.py").write_text("a = 2")
    notebook_cache.follow_downloads(app, None)
    assert old.exists()


def test_pictures_are_those_that_the_code_draws():
    for name, svg in draw.pictures().items():
        assert (ROOT / "_static" / name).read_text("utf-8") == svg, (
            f"run python _ext/draw.py: {name}"
        )
