"""The copies for Colab, Kaggle and editors: what they hold, and that they run where nothing is."""

import os
import re
import shutil
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from operator import ge
from pathlib import Path

import cold
import nbformat
import pytest
import reader_notebooks
import repository
from compare import code_cells
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook, new_output
from site_pages import soup
from sphinx.errors import ExtensionError

from utils.runtime import profile

ROOT = Path(__file__).parents[1]
COPIES = ROOT / "_build/notebooks/chapters"
NAMES = sorted(path.stem for path in ROOT.glob("chapters/*.ipynb"))
QUICK = "03_language_models"
RAW = re.compile(r":::|```\{|\{[a-z:]+\}`|^\([\w-]+\)=$|^:\w+:|\$\$ \(|\]\([^)]*\.md", re.M)


def text_of(notebook):
    return "\n".join(cell.source for cell in notebook.cells if cell.cell_type == "markdown")


@pytest.fixture(scope="module", params=NAMES)
def chapter(request):
    paths = ROOT / f"chapters/{request.param}.ipynb", COPIES / f"{request.param}.ipynb"
    page = soup(ROOT / f"_build/html/chapters/{request.param}.html").select_one("article")
    return *(nbformat.read(path, as_version=4) for path in paths), page


def test_copy_has_the_code_and_the_outputs_of_its_page(chapter):
    notebook, copy, _ = chapter
    for cell, kept in zip(code_cells(notebook), code_cells(copy)[1:], strict=True):
        lines = [line for line in cell.source.splitlines() if "import glue" not in line]
        assert "\n".join(lines) in kept.source
        assert profile() == "full" or kept.outputs == cell.outputs


def test_copy_has_no_myst_and_says_what_the_page_says(chapter):
    notebook, copy, page = chapter
    text = text_of(copy)
    assert RAW.findall(text) == []
    assert len(RAW.findall(text_of(notebook))) > 20
    text = text.replace("*", "").replace("\xa0", " ")
    for selector, form in {
        "a.reference.internal[href*='#']:not(.admonition-title a, .live-source a)": "{}",
        "figcaption p": "\n{}",
        "span.eqno": r"\tag{{{}}}",
        ".citation > p": "- {}",
        ".pasted-text": "{}",
        ".admonition:not(.exercise):not(.solution) > .admonition-title": "\n> {}\n>\n",
    }.items():
        shown = [" ".join(found.get_text().split()) for found in page.select(selector)]
        shown = [words.strip("(#)") if "tag" in form else words for words in shown]
        there = [text.count(form.format(words)[:40]) for words in shown]
        assert all(map(ge, there, map(shown.count, shown))), dict(zip(shown, there, strict=True))


def test_solutions_are_folded_and_nothing_else(chapter):
    notebook, copy, page = chapter
    inside, solutions = False, set()
    for cell in notebook.cells:
        inside = inside or "{solution-start}" in cell.source
        solutions |= {cell.id, f"{cell.id}-caption"} if inside else set()
        if "{solution-end}" in cell.source:
            inside = cell.source.rindex("{solution-end}") < cell.source.rfind("{solution-start}")
    for cell in copy.cells[1:]:
        closed = cell.source.count("<details>") == cell.source.count("</details>") > 0
        if cell.cell_type == "code":
            hidden = {"source_hidden": True, "outputs_hidden": True}
            closed = cell.metadata.get("jupyter") == hidden and cell.metadata.cellView == "form"
        assert closed == (cell.id in solutions), cell.source
    text = text_of(copy)
    titles = re.findall(r"^### (Exercise [\d.]+) \(", text, re.M)
    assert len(titles) == len(page.select("div.exercise")) >= 3
    assert all(f"<summary>Solution to {title}</summary>" in text for title in titles)


@pytest.fixture(scope="session")
def origin(tmp_path_factory):
    """Return (address, commit) of a repository that holds the helpers as they are now."""
    folder = tmp_path_factory.mktemp("origin")
    shutil.copytree(ROOT / "utils", folder / "utils", ignore=shutil.ignore_patterns("__pycache__"))
    git = ["git", "-C", folder, "-c", "user.name=A", "-c", "user.email=a@example.org"]
    for words in (["init", "-q"], ["add", "."], ["commit", "-q", "-m", "All"]):
        subprocess.run([*git, *words], check=True)
    return f"file://{folder}", subprocess.check_output([*git, "rev-parse", "HEAD"], text=True)[:-1]


def copy_from(origin, name):
    """Return a copy whose first cell fetches from another repository."""
    copy = nbformat.read(COPIES / f"{name}.ipynb", as_version=4)
    ours, first = 'ADDRESS, COMMIT = "{}", "{}"'.format(*origin), copy.cells[0]
    first.source = re.sub(r'^ADDRESS, COMMIT = ".+"$', ours, first.source, flags=re.M)
    return copy


ALONE = {name: [pytest.mark.xdist_group(name)] for name in NAMES}  # each by itself in a worker
for name in set(NAMES) - {QUICK}:
    ALONE[name] += [pytest.mark.colab]


@pytest.mark.parametrize("name", [pytest.param(name, marks=ALONE[name]) for name in NAMES])
def test_copy_runs_alone_on_older_packages_and_again_cut_off(name, origin, tmp_path):
    """First with the data where they are at hand; cut off, on the samples, with what is there."""
    packages = partial(subprocess.check_output, [cold.python(), "-m", "pip", "freeze"])
    before, first = packages(), cold.run(copy_from(origin, name), tmp_path)
    no_data = {"COURSE_DATA": "", "COURSE_CACHE": str(tmp_path / "none")}
    again = cold.run(copy_from(origin, name), tmp_path, cut_off=True, **no_data)
    assert packages() == before
    told = ["".join(o.get("text", "") for o in run.cells[-1].outputs) for run in (first, again)]
    first, again = (re.findall(r"^data +\w+: (\w+)", text, re.M) for text in told)
    assert again == ["sample"] * len(first)


@pytest.fixture
def first_cell(origin, tmp_path):
    def first_cell(before="", address=origin[0], **env):
        cell = copy_from((address, origin[1]), QUICK).cells[0].source
        cell = cell.replace(" d2l==1.0.3", "")  # which takes the network
        code = f"{before}\n{cell}\nimport utils; print(utils.__file__)"
        env = {"PATH": os.environ["PATH"], **env}
        options = {"cwd": tmp_path, "env": env, "capture_output": True, "text": True}
        run = subprocess.run([cold.python(), "-c", code], **options)
        assert (run.returncode, run.stderr) == (0, "")
        return run.stdout.strip()

    return first_cell


def test_first_cell_does_nothing_twice_or_beside_the_course(first_cell, origin, tmp_path):
    assert first_cell(PYTHONPATH=str(ROOT)) == f"{ROOT}/utils/__init__.py"
    assert not list(tmp_path.iterdir())
    place = tmp_path / f"course-{origin[1][:9]}/utils/__init__.py"
    with ThreadPoolExecutor(4) as pool:  # at the same time; none of them sees half a copy
        assert {*pool.map(lambda _: first_cell(), range(4))} == {str(place)}
    place.write_text("# changed by the reader")
    assert first_cell() == str(place) and place.read_text() == "# changed by the reader"
    assert list(tmp_path.iterdir()) == [place.parents[1]]


@pytest.mark.parametrize("loaded", ["", "import utils"])
@pytest.mark.parametrize("other", ["utils.py", "utils/__init__.py", "utils/text.py"])
def test_first_cell_says_whose_other_utils_it_passes_over(first_cell, tmp_path, other, loaded):
    (tmp_path / other).parent.mkdir(exist_ok=True)
    (tmp_path / other).write_text("x = 1")
    told, place = first_cell(before=loaded).splitlines()
    assert told.startswith("Not the course's utils: ") and str(tmp_path) in told
    assert place.startswith(f"{tmp_path}/course-")


def test_first_cell_fails_again_where_a_package_could_not_be_had(origin, tmp_path):
    cell = copy_from(origin, QUICK).cells[0].source.replace("pooch", "no-such-package")
    twice = f"for _ in range(2):\n    try: exec({cell!r})\n    except Exception as e: print(e)"
    env = {"PATH": os.environ["PATH"], "PIP_NO_INDEX": "1"}
    options = {"cwd": tmp_path, "env": env, "capture_output": True, "text": True}
    run = subprocess.run([cold.python(), "-c", twice], **options)
    assert run.stdout.count("returned non-zero exit status") == 2, run.stdout + run.stderr


def test_first_cell_takes_the_archive_where_there_is_no_git(first_cell, origin, tmp_path):
    shutil.copytree(ROOT / "utils", tmp_path / "content/name-1/utils")
    shutil.make_archive(tmp_path / "name/archive" / origin[1], "zip", tmp_path / "content")
    place = first_cell(address=f"file://{tmp_path}/name", PATH="")
    assert place.endswith("name-1/utils/__init__.py")


def test_first_cell_asks_for_all_that_the_helpers_import():
    source = "\n".join(path.read_text() for path in (ROOT / "utils").glob("*.py"))
    names = re.findall(r"^ *(?:import (\w+)|from (\w+)[\w.]* import )", source, re.M)
    there = {"", "utils", "torch", "numpy", "matplotlib", "IPython"} | sys.stdlib_module_names
    wanted = {name for pair in names for name in pair} - there
    wanted = {need.replace("-", "_") for name in wanted for need in cold.needed(name)}
    assert wanted == set(reader_notebooks.NEEDS.split())


FILES = {
    "conf.py": """
import nbformat
from types import SimpleNamespace
extensions = ["myst_nb", "sphinx_book_theme", "web_pages", "repository", "reader_notebooks"]
extensions += ["sphinxcontrib.bibtex"]
html_theme, html_math_renderer, numfig, math_numfig = "sphinx_book_theme", "mathml", True, True
bibtex_bibfiles, bibtex_reference_style = ["references.bib"], "author_year"
templates_path, exclude_patterns = ["_templates"], ["README.md"]
nb_execution_mode, html_context = "off", {"default_mode": "auto"}
myst_enable_extensions = ["dollarmath"]
one = nbformat.read("chapters/one.ipynb", as_version=4)
def setup(app):
    app.chapters = {"chapters/one": SimpleNamespace(shown=lambda: one)}
""",
    "index.md": "# Book\n\n```{toctree}\n:numbered:\nchapters/one\nrunning\n```\n",
    "running.md": "# How to run\n\n```{set-up-cell}\n```\n",
    "README.md": "[Page](pages/a.md)\n\n- [1. One](chapters/one.ipynb): Go.\n",
}
SITE, URL = "https://example.org/course", "https://github.com/owner/name"
PAGE = f"{SITE}/chapters/one.html"
TEXT = (
    "# One\n\nSee {numref}`fig`, [the *next*](one.ipynb) and {cite:t}`cho2014`.\n\n"
    "$$a = b$$ (eq-a)\n\n```{bibliography}\n```\n"
)
PLAIN = (
    f"# One\n\nSee [Fig. 1.1]({PAGE}#fig), [the *next*]({PAGE}) and Cho *et al.* [[2014]({PAGE}"
    "#ID)].\n\n$$a = b\\tag{1.1}$$\n\n- Kyunghyun Cho, "
)


@pytest.fixture
def book(tmp_path):
    """Return a function that builds a book of one chapter and returns two of its pages."""
    shutil.copytree(ROOT / "_templates", tmp_path / "_templates")
    shutil.copy(ROOT / "references.bib", tmp_path)
    for name, text in FILES.items():
        (tmp_path / name).write_text(text)
    figure = {"mystnb": {"figure": {"name": "fig", "caption": "Of {eq}`eq-a`."}}}
    svg = new_output("display_data", {"image/svg+xml": "<svg xmlns='http://www.w3.org/2000/svg'/>"})
    code = new_code_cell("0", metadata=figure, outputs=[svg])
    about = {"kernelspec": {"name": "a", "display_name": "A"}, "language_info": {"name": "python"}}
    (tmp_path / "chapters").mkdir()
    one = new_notebook(cells=[new_markdown_cell(TEXT), code], metadata=about)
    nbformat.write(one, tmp_path / "chapters/one.ipynb")

    def book(**env):
        env = {**os.environ, "PYTHONPATH": str(ROOT / "_ext"), **env}
        command = [sys.executable, "-m", "sphinx", "-qW", ".", "_build/html"]
        run = subprocess.run(command, cwd=tmp_path, env=env, capture_output=True, text=True)
        assert run.returncode == 0, run.stderr
        pages = [tmp_path / f"_build/html/{name}.html" for name in ("chapters/one", "running")]
        return [page.read_text() for page in pages]

    return book


def test_known_addresses_give_links_and_buttons(book, tmp_path):
    pages = book(COURSE_REPO_URL=f"{URL}.git", COURSE_SITE_URL=SITE, COURSE_REPO_BRANCH="trunk")
    copy = nbformat.read(tmp_path / "_build/notebooks/chapters/one.ipynb", as_version=4)
    first, text, _, caption = (cell.source for cell in copy.cells)
    assert re.sub(r"#id\d+", "#ID", text).startswith(PLAIN)
    assert text.endswith("[doi:10.3115/v1/D14-1179](https://doi.org/10.3115/v1/D14-1179).")
    assert caption == f"**[Fig. 1.1]({PAGE}#fig)** Of [(1.1)]({PAGE}#equation-eq-a)."
    notebook = "github.com/owner/name/blob/notebooks/chapters/one.ipynb"
    colab = f'href="https://colab.research.google.com/{notebook.replace(".com", "")}"'
    kaggle = f'href="https://kaggle.com/kernels/welcome?src=https://{notebook}"'
    assert [colab in page and kaggle in page for page in pages] == [True, False]
    for page, name in zip(pages, ("chapters/one.ipynb", "running.md"), strict=True):
        assert f'href="{URL}/edit/trunk/{name}"' in page and f'href="{URL}/issues/new?' in page
    assert f'ADDRESS, COMMIT = "{URL}", "' in first and f'>"{URL}"<' in pages[1]
    assert len(first.splitlines()) <= 25
    readme = (tmp_path / "_build/notebooks/README.md").read_text()
    assert re.search(rf"\[Page\]\({URL}/blob/\w+/pages/a.md\)", readme)
    assert "(chapters/one.ipynb) [![Open in Colab]" in readme and notebook in readme


@pytest.mark.parametrize("url", ["", "https://git.example.org/owner/name"])
def test_other_addresses_give_the_cell_and_no_buttons(book, tmp_path, url):
    pages = book(COURSE_REPO_URL=url, COURSE_SITE_URL="")
    assert not re.search("colab.research|kaggle.com|issues/new", "".join(pages))
    assert f'>"{url or "ADDRESS-OF-THE-REPOSITORY"}"<' in pages[1]
    copy = nbformat.read(tmp_path / "_build/notebooks/chapters/one.ipynb", as_version=4)
    assert "See Fig. 1.1, [the *next*](one.ipynb) and Cho *et al.* [2014]." in copy.cells[1].source


GIVEN = {
    f"{URL}.git/": URL,
    "git@github.com:owner/name.git": URL,
    "org-1@ssh.github.com:/owner/name": URL,
    "ssh://git@ssh.github.com:443/owner/name.git": URL,
    "https://www.GitHub.com/owner/name": URL,
    "ssh://git@git.example.org/group/owner/name": "https://git.example.org/group/owner/name",
    "https://key:secret@github.com/owner/name": URL,
    "file:///a/folder": "file:///a/folder",
}


@pytest.mark.parametrize("given", GIVEN)
def test_address_is_said_by_the_environment_or_by_the_remote(monkeypatch, given):
    for name in ("COURSE_REPO_URL", "GITHUB_REPOSITORY", "GITHUB_SERVER_URL"):
        monkeypatch.delenv(name, raising=False)
    remote = {("remote", "get-url", "origin"): given}
    monkeypatch.setattr(repository, "git", lambda *words: remote.get(words, ""))
    assert repository.address() == GIVEN[given]
    remote.clear()
    assert repository.address() == ""
    monkeypatch.setenv("GITHUB_REPOSITORY", "an/other")
    assert repository.address() == "https://github.com/an/other"
    monkeypatch.setenv("COURSE_REPO_URL", given)
    assert repository.address() == GIVEN[given]


@pytest.mark.parametrize("url", ["github.com/owner/name", f"{URL}/tree/main", "a b"])
def test_malformed_address_says_what_is_expected(monkeypatch, url):
    monkeypatch.setenv("COURSE_REPO_URL", url)
    with pytest.raises(ExtensionError, match=f"no address: {url}; expected one such as https://"):
        repository.address()
