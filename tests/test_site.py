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
from unittest.mock import patch

import draw
import nbformat
import pytest
import yaml
from broken import BROKEN
from chapter_runs import Chapter, run_chapters, run_key
from compare import belongs, code_hash, seal
from nbformat.v4 import new_markdown_cell
from notebooks import CHAPTERS, ROOT, SITE, notebook
from site_pages import soup, unlike, without_colours, words
from status_page import outdated

from utils import runtime

FILES = ["benchmarks", "_config.yml", "references.bib", "requirements.txt"]
FILES += ["_ext", "_static", "_templates", "utils"]
TRAINS = ["nbval-ignore-output"]
READ = ["utils/text.py", "utils/datasets.toml", "utils/samples/story.txt", "constraints.txt"]
READ += ["requirements.txt", "requirements-nodeps.txt"]  # by the key of a run
PROVENANCE = "print('device   abacus\\nversions none\\nprofile  {}\\ndata     time_machine: {}')"


def chapter(*cells, data=("quick", "file from cache")):
    """Return a recorded notebook of (source, what is stored as printed, tags) and a provenance."""
    last = (PROVENANCE.format(*data), "device   recorder\nversions old\nprofile  full\n", TRAINS)
    made = notebook(new_markdown_cell("# Title\n\nText."), *cells, last)
    made.metadata["record"] = {"helpers": "", "date": "2026-01-02", "seconds": 3}
    made.metadata.record["seal"] = seal(made)
    return nbformat.from_dict(made)


class Book:
    """A copy of the project with chapters of a few lines."""

    def __init__(self, folder):
        self.folder, self.html, self.runs = folder, folder / "_build/html", folder / "_build/runs"
        for name in FILES:
            put = shutil.copytree if (ROOT / name).is_dir() else shutil.copy
            put(ROOT / name, folder / name)
        (folder / "chapters").mkdir()
        for name in ("pages", ".venv/lib"):  # packages bring pages, which are none of the book's
            (folder / name).mkdir(parents=True)
        (folder / "index.md").write_text("# Book\n")
        (folder / ".venv/lib/README.md").write_text("## A heading out of order\n")
        shutil.copy(ROOT / "pages/status.md", folder / "pages")
        self.env = {name: value for name, value in os.environ.items() if "COURSE_" not in name}
        self.env |= {"COURSE_CACHE": str(folder / "no-data"), "OMP_NUM_THREADS": "1"}

    def hold(self, **chapters):
        """Let the book have these chapters and no others; those that are None stay as they are."""
        pages = [{"file": name} for name in ["pages/status", *(f"chapters/{n}" for n in chapters)]]
        toc = {"format": "jb-book", "root": "index", "chapters": pages}
        (self.folder / "_toc.yml").write_text(yaml.safe_dump(toc))
        for path in (self.folder / "chapters").iterdir():
            if path.stem not in chapters:
                path.unlink()
        for name, made in chapters.items():
            if made:
                nbformat.write(made, self.folder / f"chapters/{name}.ipynb")

    def build(self):
        """Build the book as `make book` does; return the finished process."""
        command = [Path(sys.executable).parent / "jupyter-book", "build", ".", "-W", "-n"]
        options = {"cwd": self.folder, "env": self.env, "capture_output": True, "text": True}
        run = subprocess.run(command, **options)
        run.output = without_colours(run.stdout + run.stderr)
        run.executed = sorted(re.findall(r"^executed chapters/(\w+): ", run.output, re.M))
        return run

    def stop(self):
        """Return the words with which a build of the book stops before it writes a page."""
        app = SimpleNamespace(srcdir=self.folder, outdir=self.html)
        app.builder = SimpleNamespace(format="html")
        kept = [path.stat().st_mtime_ns for path in self.runs.iterdir()]
        with patch.dict(os.environ, self.env, clear=True), pytest.raises(SystemExit) as caught:
            run_chapters(app)
        assert kept == [path.stat().st_mtime_ns for path in self.runs.iterdir()]  # nothing is new
        return without_colours(str(caught.value))

    def page(self, name):
        return words(soup(self.html / f"chapters/{name}.html").get_text())


# --- Builds, one after another, by what was done before each
PICTURE = """from IPython.display import display
display({"image/png": "iVBORw0KGgo=", "text/plain": str(id(display)) + "!"}, raw=True)"""
CLAIMS = """from utils.runtime import claim
claim('two', 2, equal=2), claim('three', 3, at_most=3), print('– open')"""
GOOD = chapter(
    ("import sys\nprint(6 * 7)\nprint(sys.flags, file=sys.stderr)", "42\n", []),
    ("import os, utils\nprint(os.path.samefile(utils.__path__[0], '../utils'))", "True\n", []),
    (PICTURE, "", []),
    ("print('as computed now')", "as recorded\n", TRAINS),
    ("print(0)", "1\n", ["data-time-machine"]),
    (CLAIMS, "", TRAINS),
    data=("quick", "sample: none"),
)
TIME = ("import time\nprint(time.time_ns())", "as it was stored\n", ["data-time-machine", *TRAINS])
FULL = chapter((*TIME[:2], ["data-letters", *TRAINS]), data=("full", "file from COURSE_DATA"))
SAMPLE = chapter(TIME, data=("full", "sample: none"))
MENDED = chapter(("print(2)", "2\n", []), (*TIME[:2], TRAINS))
KNOWN = {kind: chapter((source, "", [])) for kind, (source, _) in BROKEN.items()}
KNOWN["allowed"] = chapter(("1 / 0", "", ["raises-exception"]))  # no tag lets a cell off
KNOWN["skipped"] = chapter(("1 / 0", "", ["skip-execution"]))
KNOWN["output"] = chapter(("print(41 + 1)", "41\n", []), ("42", "42", []), ("print(3)", "", []))
NAMED = [f"chapters/{kind}: " for kind in KNOWN] + [error for _, error in BROKEN.values()]
NAMED += ["recorded: {'stdout': ['41", "{'text/plain': ['42", "now:      {'stdout': ['3"]


@pytest.fixture(scope="module")
def builds(tmp_path_factory):
    """Return a book and its builds, by what was done before each."""
    book, runs = Book(tmp_path_factory.mktemp("book")), {}
    book.hold(good=GOOD, full=FULL, sample=SAMPLE, **KNOWN)
    runs["broken"] = book.build()
    runs["still broken"] = book.stop()
    book.hold(good=None, full=None, sample=None, output=MENDED, cell=MENDED)
    (book.runs / "good.ipynb").write_text("{")  # half a file
    runs["mended"] = book.build()
    runs["unchanged"] = book.build()
    assert runs["unchanged"].returncode == 0, runs["unchanged"].output
    book.first = {name: book.page(name) for name in ("good", "full", "sample", "cell")}
    book.good_is_record = unlike(book.html / "chapters/good.html", GOOD) == []
    tables = soup(book.html / "pages/status.html").select("table")
    book.rows = [[td.get_text() for td in table.select("tr:nth-of-type(1) td")] for table in tables]
    (book.runs / "full.ipynb").unlink()
    book.hold(good=None, full=None, sample=None, output=None)
    runs["run anew, and one is gone"] = book.build()
    return book, runs


def test_what_is_broken_fails_until_mended(builds):
    _, runs = builds
    assert runs["broken"].returncode != 0
    errors = re.sub(r"^executed .*\n", "", runs["broken"].output, flags=re.M)
    for told in (errors, runs["still broken"]):
        assert [words for words in NAMED if words not in told] == []
        assert "chapters/good: " not in told
    told = re.sub(r": \d+ s,", ":", runs["broken"].output)
    for name, line in {
        "good": "2 claims held, 1 left open, 2 of 2 compared outputs as recorded",
        "output": "0 claims held, 0 left open, 0 of 3 compared outputs as recorded",
        "claim": "FAILED",
    }.items():
        assert f"\nexecuted chapters/{name}: {line}\n" in told


def test_only_what_changed_is_executed(builds):
    _, runs = builds
    assert runs["broken"].executed == sorted({"good", "full", "sample"} | KNOWN.keys())
    passed = ["mended", "unchanged", "run anew, and one is gone"]
    assert [runs[name].output for name in passed if runs[name].returncode] == []
    executed = [runs[name].executed for name in passed]
    assert executed == [["cell", "good", "output"], [], ["full"]]
    assert "0 added, 0 changed, 0 removed" in runs["unchanged"].output


def test_page_shows_the_record_or_a_full_run_on_the_data_and_says_what_was_executed_again(builds):
    book, _ = builds
    assert book.good_is_record
    for name, data in {"good": "a sample for time_machine", "cell": "no data set"}.items():
        assert "Recorded on 2026-01-02 on recorder with old. " in book.first[name]
        line = f"This build ran it again on abacus, on the quick profile with {data}: "
        assert line in book.first[name]
    line = "2 claims held, 1 left open, 2 of 2 compared outputs as recorded."
    assert line in book.first["good"] and "as it was stored" in book.first["cell"]
    full, sample = book.first["full"], book.first["sample"]
    assert "as it was stored" not in full and "on abacus with none, by this build itself" in full
    assert "profile with the real data: " in full
    assert "as it was stored" in sample and "on recorder with old. This build ran" in sample
    run = nbformat.read(book.runs / "full.ipynb", as_version=4)  # it was made once more
    assert unlike(book.html / "chapters/full.html", run) == []


def test_status_page_lists_record_and_run_of_each_chapter(builds):
    book, _ = builds
    assert book.rows[0][1] == "2026-01-02, recorder" and book.rows[1][1].endswith(", abacus")
    assert book.rows[0][-1] == "helpers, versions"  # have changed since
    assert "chapters/cell" not in (book.html / "pages/status.html").read_text()  # it is gone


def test_status_page_is_written_again_when_a_chapter_is_gone():
    app, env = SimpleNamespace(chapters={}), SimpleNamespace(chapter_facts={"chapters/gone": []})
    assert [outdated(app, env, [], [], []) for _ in range(2)] == [["pages/status"], []]


def test_code_edited_without_recording_fails_and_names_chapter_and_command(builds):
    edited = copy.deepcopy(MENDED)
    edited.cells[1].source = "print(2)  # edited"
    builds[0].hold(good=None, output=edited)
    assert 'make record NOTEBOOKS="chapters/output.ipynb"' in builds[0].stop()


def test_nothing_is_executed_where_no_pages_are_written(tmp_path):
    app = SimpleNamespace(srcdir=ROOT, outdir=tmp_path / "out", builder=SimpleNamespace(format=""))
    run_chapters(app)
    assert app.chapters == {} and not (tmp_path / "runs").exists()


# --- What a run depends on
@pytest.fixture
def root(tmp_path):
    (tmp_path / "utils/samples").mkdir(parents=True)
    (tmp_path / "utils/text.py").write_text("a = 1")
    return tmp_path


def test_a_run_depends_on_files_on_its_surroundings_and_on_all_its_code(root, monkeypatch):
    monkeypatch.setenv("COURSE_PROFILE", "quick")
    keys = [run_key(root, GOOD, set())]
    for place in (1, -1):
        other = copy.deepcopy(GOOD)
        other.cells[place].source += "  # another"
        keys.append(run_key(root, other, set()))
    for change, *args in [
        (monkeypatch.setattr, platform, "python_version", lambda: "3.99"),
        (monkeypatch.setattr, runtime, "device", lambda: SimpleNamespace(type="cuda")),
        (monkeypatch.setenv, "COURSE_PROFILE", "full"),
        (monkeypatch.setenv, "COURSE_REQUIRE_DATA", "1"),
        *(((root / name).write_text, text) for name in READ for text in ("a==1", "a==2")),
    ]:
        change(*args)
        keys.append(run_key(root, GOOD, set()))
    assert len(set(map(str, keys))) == 7 + 2 * len(READ)
    assert keys[-1] == run_key(root, GOOD, set())


@pytest.mark.parametrize(
    ("source", "missing", "again"),
    [
        ("file from cache", {"data-time-machine"}, True),
        ("file from cache", {"data-lyrics"}, False),
        ("file from cache", set(), False),  # it may have come during the run
        ("sample: none", set(), True),
    ],
)
def test_a_run_depends_on_its_own_data_and_on_what_stood_in(root, source, missing, again):
    notebook = chapter(("print(0)", "0\n", ["data-time-machine"]), data=("quick", source))
    nbformat.write(notebook, root / "one.ipynb")
    found = Chapter(root / "one.ipynb", root / "runs")
    found.make_run(root)
    run, found.run = found.run, None
    found.find_run(root, missing)
    assert (found.run is None) == again
    run.cells[1].outputs[0].text = "1\n"  # typed
    nbformat.write(run, found.kept)
    found.run = None
    found.find_run(root, missing)
    assert found.run is None


# --- The built site
@pytest.mark.parametrize("path", CHAPTERS, ids=lambda path: path.stem)
def test_page_and_status_tell_of_the_record_and_of_the_run(path):
    found, page = Chapter(path, ROOT / "_build/runs"), SITE / f"chapters/{path.stem}.html"
    assert found.kept.exists(), "make book comes first"
    found.run = nbformat.read(found.kept, as_version=4)
    assert belongs(found.run), "make book comes first"
    assert code_hash(found.run) == code_hash(found.record), "make book comes first"
    assert unlike(page, found.shown()) == []
    (line,) = soup(page).select(".record-line")
    assert f"Recorded on {found.record.metadata.record.date} on " in words(line.get_text())
    link = f"../chapters/{path.stem}.html"
    rows = [row for row in soup(SITE / "pages/status.html").select("tr") if row.select("td a")]
    seconds = [row.select("td")[2].get_text() for row in rows if row.a["href"] == link]
    assert seconds == [str(made.metadata.record.seconds) for made in (found.record, found.run)]


def test_home_has_a_card_with_a_small_picture_for_each_chapter():
    cards = soup(SITE / "index.html").select(".cards li")
    assert [card.a["href"] for card in cards] == [f"chapters/{path.stem}.html" for path in CHAPTERS]
    assert all(2_000 < (SITE / card.img["src"]).stat().st_size < 15_000 for card in cards)


def test_nothing_is_named_that_stands_on_another_host():
    for page in SITE.rglob("*.html"):
        html = soup(page)
        named = [tag.get(of, "") for of in ("src", "srcset", "data") for tag in html.find_all()]
        named += [tag["href"] for tag in html.select("link[href]:not([rel=canonical])")]
        assert [name for name in named if re.match(r"(https?:)?//", name)] == [], page
    for sheet in SITE.rglob("*.css"):
        css = sheet.read_text("utf-8")
        assert not re.search(r"(url\(|@import)\s*[\"']?(https?:)?//", css), sheet


@pytest.mark.parametrize(("name", "svg"), draw.pictures().items(), ids=draw.pictures())
def test_pictures_are_those_that_the_code_draws(name, svg):
    assert (ROOT / "_static" / name).read_text("utf-8") == svg, "run python _ext/draw.py"
