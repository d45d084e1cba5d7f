"""The build: a failure stays until it is mended, pages show the record, nothing runs twice."""

import copy
import os
import platform
import re
import shutil
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import nbformat
import pytest
import yaml
from broken import BROKEN
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook, new_output

ROOT = Path(__file__).parents[1]
SITE = ROOT / "_build/html"
sys.path.insert(0, str(ROOT / "_ext"))
import draw  # noqa: E402
from chapter_runs import Chapter, run_key  # noqa: E402
from compare import belongs, code_cells, code_hash, seal  # noqa: E402
from site_pages import soup, unlike, words  # noqa: E402

from utils import datasets, runtime  # noqa: E402

CHAPTERS = sorted((ROOT / "chapters").glob("*.ipynb"))
FILES = (
    "benchmarks",
    "_config.yml",
    "references.bib",
    "requirements.txt",
    "_ext",
    "_static",
    "_templates",
    "utils",
)
KERNEL = {"name": "python3", "display_name": "Python 3", "language": "python"}
TRAINS = ["nbval-ignore-output"]
PROVENANCE = "print('device   abacus\\nversions none\\nprofile  {}\\ndata     imdb: {}')"


def chapter(*cells, data=("quick", "sample: none")):
    """Return a recorded notebook of (source, what is stored as printed, tags) and a provenance."""
    last = (PROVENANCE.format(*data), "device   recorder\nversions old\nprofile  full\n", TRAINS)
    notebook = new_notebook(cells=[new_markdown_cell("# Title\n\nText.")])
    notebook.metadata = {"kernelspec": KERNEL, "language_info": {"name": "python"}}
    for number, (source, text, tags) in enumerate([*cells, last], start=1):
        outputs = [new_output("stream", name="stdout", text=text)] if text else []
        cell = new_code_cell(source, outputs=outputs, execution_count=number)
        cell.metadata["tags"] = tags
        notebook.cells.append(cell)
    notebook.metadata["record"] = {"helpers": "", "date": "2026-01-02", "seconds": 3}
    notebook.metadata.record["seal"] = seal(notebook)
    return nbformat.from_dict(notebook)


class Book:
    """A copy of the project with chapters and pages of a few lines."""

    def __init__(self, folder, names):
        self.folder, self.html, self.names = folder, folder / "_build/html", names
        for name in filter(lambda name: (ROOT / name).exists(), FILES):
            put = shutil.copytree if (ROOT / name).is_dir() else shutil.copy
            put(ROOT / name, folder / name)
        pages = ["pages/status", *(f"chapters/{name}" for name in names)]
        toc = {"format": "jb-book", "root": "index", "chapters": [{"file": page} for page in pages]}
        (folder / "_toc.yml").write_text(yaml.safe_dump(toc))
        (folder / "index.md").write_text("# Book\n")
        (folder / "chapters").mkdir()
        (folder / "pages").mkdir()
        shutil.copy(ROOT / "pages/status.md", folder / "pages")
        stray = folder / ".venv" / "lib"  # pages of others, which are none of the book's
        stray.mkdir(parents=True)
        (stray / "README.md").write_text("## A heading out of order\n")

    def write(self, name, notebook):
        """Write a chapter."""
        nbformat.write(notebook, self.folder / f"chapters/{name}.ipynb")

    def build(self, flags=("-W", "-n"), **settings):
        """Build the book as `make book` does; return the finished process."""
        program = Path(sys.executable).parent / "jupyter-book"
        env = {name: value for name, value in os.environ.items() if "COURSE_" not in name}
        env |= {"COURSE_CACHE": str(self.folder / "no-data"), "OMP_NUM_THREADS": "1"} | settings
        command = [program, "build", ".", *flags]
        run = subprocess.run(command, cwd=self.folder, env=env, capture_output=True, text=True)
        run.output = re.sub(r"\x1b\[[\d;]*m", "", run.stdout + run.stderr)  # without colours
        return run

    def page(self, name):
        """Return the words of a chapter's page."""
        return words(soup(self.html / f"chapters/{name}.html").get_text())


def executed(run):
    """Return the names of the notebooks that a build executed."""
    return sorted(re.findall(r"^executed chapters/(\w+): ", run.output, re.MULTILINE))


# --- Builds, one after another, by what was done before each ---

GOOD = chapter(
    ("print(6 * 7)", "42\n", []),
    ("print('as computed now')", "as recorded\n", TRAINS),
    ("print(0)", "1\n", ["data-imdb"]),
    ("from utils.runtime import claim\nclaim('two', 2, equal=2)\nprint('– open')", "", TRAINS),
)
KNOWN = {
    kind: chapter(("print(1)", "1\n", []), (source, "", [])) for kind, (source, _) in BROKEN.items()
}
KNOWN["output"] = chapter(("print(41 + 1)", "41\n", []))
WORDS = {kind: words for kind, (_, words) in BROKEN.items()} | {
    "output": "recorded: {'stdout': ['41"
}


@pytest.fixture(scope="module")
def builds(tmp_path_factory):
    """Return a book and its builds, by what was done before each."""
    book, runs = Book(tmp_path_factory.mktemp("book"), ["good", *KNOWN]), {}
    for name, notebook in {"good": GOOD, **KNOWN}.items():
        book.write(name, notebook)
    runs["broken"] = book.build()
    runs["still broken"] = book.build()
    for kind in KNOWN:
        book.write(kind, chapter(("print(2)", "2\n", [])))
    runs["mended"] = book.build()
    book.first = book.page("good")
    runs["unchanged"] = book.build()
    with open(book.folder / "utils/runtime.py", "a") as file:
        file.write("\n\nanswer = 42\n")
    runs["changed utils"] = book.build()
    edited = chapter(("print(2)", "2\n", []))
    edited.cells[1].source = "print(2)  # edited"
    book.write("claim", edited)
    runs["edited"] = book.build()
    return book, runs


@pytest.mark.parametrize("name", ["broken", "still broken"])
def test_what_is_broken_fails_until_mended(builds, name):
    """A wrong import, a false claim, an error, a dead kernel, another output: each is named."""
    run = builds[1][name]
    assert run.returncode != 0
    for kind, error in WORDS.items():
        assert re.search(
            rf"^(Extension error.*)?chapters/{kind}: ", run.output, re.MULTILINE | re.DOTALL
        )
        assert error in run.output, run.output
    assert "chapters/good: " not in run.output.partition("Extension error")[2]
    kept = {"good", "output"}  # what was executed to its end is compared again, not executed again
    assert set(executed(run)) == ({"good", *KNOWN} if name == "broken" else {*KNOWN} - kept)


def test_mended_book_passes(builds):
    run = builds[1]["mended"]
    assert run.returncode == 0, run.output
    assert "WARNING" not in run.output
    assert "chapters/good: " not in run.output.partition("Extension error")[2]


def test_only_what_changed_is_executed(builds):
    book, runs = builds
    assert executed(runs["mended"]) == sorted(KNOWN)
    assert executed(runs["unchanged"]) == []
    assert runs["unchanged"].returncode == 0, runs["unchanged"].output
    assert "0 added, 0 changed, 0 removed" in runs["unchanged"].output
    assert executed(runs["changed utils"]) == sorted(book.names)


def test_terminal_tells_how_each_chapter_went(builds):
    assert re.search(
        r"^executed chapters/good: \d+ s, 1 claims held, 1 left open, 1 of 1 compared outputs as ",
        builds[1]["broken"].output,
        re.MULTILINE,
    )


def test_page_shows_the_record_and_says_what_was_executed_again(builds):
    book, _ = builds
    assert "'as computed now') as recorded" in book.first
    assert unlike(book.html / "chapters/good.html", GOOD) == []
    line = "Recorded on 2026-01-02 on recorder with old. This build ran it again on abacus, on the "
    line += "quick profile with a sample for imdb: 1 claims held, 1 left open, 1 of 1 compared "
    line += "outputs as recorded."
    assert line in book.first


def test_status_page_lists_record_and_run(builds):
    book, _ = builds
    tables = soup(book.html / "pages/status.html").select("table")
    rows = [[cell.get_text() for cell in table.select("tr:nth-of-type(1) td")] for table in tables]
    assert rows[0][1] == "2026-01-02, recorder" and rows[1][1].endswith(", abacus")
    assert rows[0][-1] == "helpers, versions"  # have changed since


def test_code_edited_without_recording_fails_and_names_chapter_and_command(builds):
    run = builds[1]["edited"]
    assert run.returncode != 0 and executed(run) == []
    assert 'make record NOTEBOOKS="chapters/claim.ipynb"' in run.output


def test_run_on_the_full_profile_with_real_data_is_shown(tmp_path):
    book = Book(tmp_path, ["full", "sample"])
    cell = ("import time\nprint(time.time_ns())", "as it was stored\n", ["data-imdb", *TRAINS])
    book.write("full", chapter(cell, data=("full", "file from COURSE_DATA")))
    book.write("sample", chapter(cell, data=("full", "sample: none")))
    assert book.build().returncode == 0
    full, sample = map(book.page, book.names)
    assert "as it was stored" not in full and "on abacus with none, by this build itself" in full
    assert "profile with the real data: " in full
    assert "as it was stored" in sample and "on recorder with old. This build ran" in sample
    shutil.rmtree(book.folder / "_build/runs")
    assert book.build().returncode == 0
    run = nbformat.read(book.folder / "_build/runs/full.ipynb", as_version=4)
    assert unlike(book.html / "chapters/full.html", run) == []  # the page follows the new run


def test_a_chapter_that_is_gone_and_a_tag_that_lets_a_cell_off(tmp_path):
    book = Book(tmp_path, ["one", "two"])
    for name in book.names:
        book.write(name, chapter(("print(1)", "1\n", [])))
    assert book.build().returncode == 0
    (book.folder / "chapters/two.ipynb").unlink()
    toc = (book.folder / "_toc.yml").read_text()
    (book.folder / "_toc.yml").write_text(toc.replace("- file: chapters/two\n", ""))
    assert book.build().returncode == 0
    assert "chapters/two" not in (book.html / "pages/status.html").read_text()
    book.write(
        "one", chapter(("1 / 0", "", ["raises-exception"]), ("1 / 0", "", ["skip-execution"]))
    )
    assert "ZeroDivisionError" in book.build().output
    book.write("one", chapter(("print(2)", "", [])))  # says something that the record does not
    assert "now:      {'stdout': ['2" in book.build().output
    (book.folder / "_build/runs/one.ipynb").write_text("{")  # damaged
    book.write("one", chapter(("print(1)", "1\n", [])))
    assert book.build().returncode == 0


AT_HAND = datasets.locate("time_machine") and datasets.locate("tang_poems")


@pytest.mark.skipif(not AT_HAND, reason="chapters 02 and 03 need their real data")
def test_chapters_02_and_03_show_a_full_run_on_the_real_data(tmp_path):
    paths = CHAPTERS[1:3]
    book = Book(tmp_path, [path.stem for path in paths])
    for path in paths:
        notebook = nbformat.read(path, as_version=4)
        for cell in code_cells(notebook):  # what the page must not show
            if cell == notebook.cells[-1] or "image/png" in str(cell.outputs):
                cell.outputs = []
        book.write(path.stem, notebook)
    data = os.path.abspath(os.environ.get("COURSE_DATA", ""))
    cache = os.environ.get("COURSE_CACHE", str(datasets._places()["cache"]))
    settings = {"COURSE_PROFILE": "full", "COURSE_DATA": data, "COURSE_CACHE": cache}
    run = book.build(flags=[], **settings)  # they name chapters that this book does not have
    assert run.returncode == 0, run.output
    for path in paths:
        run = nbformat.read(book.folder / "_build/runs" / path.name, as_version=4)
        assert "profile  full" in run.cells[-1].outputs[0].text
        assert unlike(book.html / f"chapters/{path.stem}.html", run) == []


# --- What a run depends on ---


@pytest.fixture
def root(tmp_path):
    """Return a folder with what a run's key looks at."""
    (tmp_path / "utils").mkdir()
    (tmp_path / "utils/text.py").write_text("a = 1")
    (tmp_path / "utils/samples").mkdir()
    (tmp_path / "requirements.txt").write_text("torch==1")
    return tmp_path


CHANGES = {
    "helpers": lambda root, patch: (root / "utils/text.py").write_text("a = 2"),
    "registry": lambda root, patch: (root / "utils/datasets.toml").write_text("b"),
    "samples": lambda root, patch: (root / "utils/samples/story.txt").write_text("b"),
    "requirements": lambda root, patch: (root / "requirements.txt").write_text("torch==2"),
    "constraints": lambda root, patch: (root / "constraints.txt").write_text("torch==2"),
    "d2l": lambda root, patch: (root / "requirements-nodeps.txt").write_text("d2l==2"),
    "Python": lambda root, patch: patch.setattr(platform, "python_version", lambda: "3.99"),
    "device": lambda root, patch: patch.setattr(
        runtime, "device", lambda: SimpleNamespace(type="cuda")
    ),
    "profile": lambda root, patch: patch.setenv("COURSE_PROFILE", "full"),
    "rule about data": lambda root, patch: patch.setenv("COURSE_REQUIRE_DATA", "1"),
}


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES.keys())
def test_a_run_is_made_anew_when_something_changed_that_it_depends_on(root, change, monkeypatch):
    monkeypatch.setenv("COURSE_PROFILE", "quick")
    before = run_key(root, GOOD, set())
    assert run_key(root, GOOD, set()) == before
    change(root, monkeypatch)
    assert run_key(root, GOOD, set()) != before


@pytest.mark.parametrize(("missing", "again"), [("data-imdb", True), ("data-lyrics", False)])
def test_a_run_depends_on_its_own_data_alone(root, missing, again, tmp_path):
    notebook = chapter(("print(0)", "0\n", ["data-imdb"]), data=("quick", "file from cache"))
    nbformat.write(notebook, tmp_path / "one.ipynb")
    found = Chapter(tmp_path / "one.ipynb", tmp_path / "runs")
    found.make_run(root)
    found.run = None
    found.find_run(root, {missing})
    assert (found.run is None) == again


@pytest.mark.parametrize("place", [1, -1])
def test_a_run_depends_on_its_code(root, place):
    other = copy.deepcopy(GOOD)
    other.cells[place].source += "  # another"
    assert run_key(root, other, set()) != run_key(root, GOOD, set())


@pytest.mark.parametrize(("source", "again"), [("file from cache", False), ("sample: none", True)])
def test_data_that_came_during_the_run_does_not_make_it_run_again(root, source, again, tmp_path):
    """Unless a sample had stood in for it."""
    notebook = chapter(("print(0)", "0\n", ["data-imdb"]), data=("quick", source))
    nbformat.write(notebook, tmp_path / "one.ipynb")
    found = Chapter(tmp_path / "one.ipynb", tmp_path / "runs")
    found.make_run(root)
    found.run = None
    found.find_run(root, missing=set())  # now it is there
    assert (found.run is None) == again


# --- The built site ---


def built(path):
    """Return a chapter of the built book, with the run that its page was made with."""
    found = Chapter(path, ROOT / "_build/runs")
    assert found.kept.exists(), "make book comes first"
    found.run = nbformat.read(found.kept, as_version=4)
    assert belongs(found.run), "make book comes first"
    assert code_hash(found.run) == code_hash(found.record), "make book comes first"
    return found


@pytest.mark.parametrize("path", CHAPTERS, ids=lambda path: path.stem)
def test_every_output_and_figure_of_the_record_stands_on_its_page(path):
    assert unlike(SITE / f"chapters/{path.stem}.html", built(path).shown()) == []


def test_page_04_shows_the_recorded_sentences():
    page = words(soup(SITE / "chapters/04_rnn_from_scratch.html").get_text())
    record = "\n".join(
        output.text
        for cell in built(CHAPTERS[3]).shown().cells
        for output in cell.get("outputs", [])
        if output.get("name") == "stdout"
    )
    sentences = re.findall(r"time traveller [a-z ]{40,}", record)
    assert sentences and all(words(sentence) in page for sentence in sentences)


def test_no_page_speaks_of_a_sample_that_stood_in_for_its_text():
    assert not [page for page in SITE.rglob("*.html") if " is a SAMPLE" in page.read_text("utf-8")]


@pytest.mark.parametrize("path", CHAPTERS, ids=lambda path: path.stem)
def test_line_under_the_title_says_when_the_page_was_recorded(path):
    (line,) = soup(SITE / f"chapters/{path.stem}.html").select(".record-line")
    assert f"Recorded on {built(path).record.metadata.record.date} on " in words(line.get_text())


def test_home_has_a_card_with_a_picture_for_each_chapter():
    cards = soup(SITE / "index.html").select(".cards li")
    assert [card.a["href"] for card in cards] == [f"chapters/{path.stem}.html" for path in CHAPTERS]
    assert all((SITE / card.img["src"]).stat().st_size > 1_000 for card in cards)


def test_no_requests_to_other_hosts():
    loaded = [
        (page.name, tag.name, tag[name])
        for page in SITE.rglob("*.html")
        for tag in soup(page).find_all(True)
        for name in ("src", "srcset", "data", "href")
        if tag.name not in ("a", "base") and tag.get("rel") != ["canonical"] and name in tag.attrs
    ]
    assert len(loaded) > 100
    assert not [item for item in loaded if re.match(r"(https?:)?//", item[2])]
    for sheet in SITE.rglob("*.css"):
        css = sheet.read_text("utf-8")
        assert not re.search(r"(url\(|@import)\s*[\"']?(https?:)?//", css), sheet


def test_status_page_has_two_rows_for_every_chapter():
    rows = soup(SITE / "pages/status.html").select("tr")
    for path in CHAPTERS:
        found, link = built(path), f"../chapters/{path.stem}.html"
        mine = [
            [td.get_text() for td in row.select("td")]
            for row in rows
            if row.a and row.a["href"] == link
        ]
        seconds = [str(notebook.metadata.record.seconds) for notebook in (found.record, found.run)]
        assert [cells[2] for cells in mine] == seconds


def test_pictures_are_those_that_the_code_draws():
    for name, svg in draw.pictures().items():
        assert (ROOT / "_static" / name).read_text("utf-8") == svg, (
            f"run python _ext/draw.py: {name}"
        )
