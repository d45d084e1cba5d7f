"""The copies for Colab, Kaggle and editors: what they hold, and that they run where nothing is."""

import ast
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from importlib.metadata import distribution
from pathlib import Path
from threading import Thread

import nbformat
import pytest
import reader_notebooks
from compare import code_cells
from filelock import FileLock
from jupyter_client import AsyncKernelManager
from jupyter_client.kernelspec import KernelSpecManager
from nbclient import NotebookClient
from packaging.requirements import Requirement
from site_pages import soup

from utils.runtime import profile

ROOT = Path(__file__).parents[1]
COPIES = ROOT / "_build/notebooks/chapters"
COLD = ROOT / "_build/cold-venv"
# Colab's versions; PyTorch is the course's own. None of the other packages of the course is there.
COLAB = ["numpy==2.1.3", "pandas==2.2.3", "matplotlib==3.10.0", "ipython==7.34.0"]
COLAB += ["ipykernel==6.17.1", "pooch==1.9.0", "scipy", "tqdm", "requests"]
NAMES = sorted(path.stem for path in ROOT.glob("chapters/*.ipynb"))
QUICK = "03_language_models"
ALONE = {name: [pytest.mark.xdist_group(name)] for name in NAMES}  # two at a time in test-colab
for name in set(NAMES) - {QUICK}:
    ALONE[name].append(pytest.mark.colab)


def link(name, site):
    """Let an environment find a package of this one, and what the package needs."""
    package = distribution(name)
    for top in {file.parts[0] for file in package.files} - {"..", "__pycache__"}:
        if not (site / top).exists():
            (site / top).symlink_to(package.locate_file(top))
    for needed in map(Requirement, package.requires or []):
        if not needed.marker or needed.marker.evaluate({"extra": ""}):
            link(needed.name, site)


@pytest.fixture(scope="session")
def cold():
    """Return the Python of an environment with Colab's versions; it is made once and kept."""
    made_of = json.dumps([COLAB, sys.prefix, distribution("torch").version])
    with FileLock(f"{COLD}.lock"):
        if not (COLD / "ready").exists() or (COLD / "ready").read_text() != made_of:
            shutil.rmtree(COLD, ignore_errors=True)
            subprocess.run([sys.executable, "-m", "venv", COLD], check=True)
            subprocess.run([COLD / "bin/python", "-m", "pip", "install", "-q", *COLAB], check=True)
            link("torch", next(COLD.glob("lib/*/site-packages")))  # after pip: it leaves these be
            (COLD / "ready").write_text(made_of)
    return COLD / "bin/python"


@pytest.fixture(scope="session")
def origin(tmp_path_factory):
    """Return (address, commit) of a repository that holds this tree as it is now."""
    folder = tmp_path_factory.mktemp("origin")
    shutil.copytree(ROOT / "utils", folder / "utils", ignore=shutil.ignore_patterns("__pycache__"))
    git = ["git", "-C", folder, "-c", "user.name=A", "-c", "user.email=a@example.org"]
    for words in (["init", "-q"], ["add", "."], ["commit", "-q", "-m", "All"]):
        subprocess.run([*git, *words], check=True)
    commit = subprocess.run([*git, "rev-parse", "HEAD"], capture_output=True, text=True, check=True)
    return f"file://{folder}", commit.stdout.strip()


def copy_of(name, origin):
    """Return a copy whose first cell fetches from the repository of the tests."""
    copy = nbformat.read(COPIES / f"{name}.ipynb", as_version=4)
    for what, value in zip(("ADDRESS", "COMMIT"), origin, strict=True):
        known = re.compile(rf'^{what} = ".+"$', re.M)
        copy.cells[0].source = known.sub(f'{what} = "{value}"', copy.cells[0].source)
    return copy


def run(notebook, python, folder, cut_off=False, **env):
    """Execute a notebook in a folder with a Python that has nothing of this project."""
    with tempfile.TemporaryDirectory() as short:  # of a socket's name, a hundred letters count
        argv = ["unshare", "-n"] * cut_off + [str(python), "-m", "ipykernel_launcher", "-f"]
        (spec := Path(short, "cold")).mkdir()
        facts = {"argv": [*argv, "{connection_file}"], "display_name": "", "language": "python"}
        (spec / "kernel.json").write_text(json.dumps(facts))
        specs, file = KernelSpecManager(kernel_dirs=[short]), f"{short}/kernel.json"
        options = {"kernel_name": "cold", "transport": "ipc", "connection_file": file}
        kernel = AsyncKernelManager(kernel_spec_manager=specs, **options)
        left_out = {"PYTHONPATH", "JUPYTER_PATH", "MPLBACKEND"}
        env = {k: v for k, v in os.environ.items() if k not in left_out} | env
        where = {"metadata": {"path": str(folder)}}
        NotebookClient(notebook, km=kernel, resources=where, timeout=600).execute(env=env)
    return notebook


def said(notebook):
    """Return what the cells of a notebook printed."""
    outputs = [output for cell in notebook.cells for output in cell.get("outputs", [])]
    return "".join(output.get("text", "") for output in outputs)


def packages(python):
    """Return the packages of an environment, with their versions."""
    return subprocess.run([python, "-m", "pip", "freeze"], capture_output=True, check=True).stdout


@pytest.mark.parametrize("name", [pytest.param(name, marks=ALONE[name]) for name in NAMES])
def test_copy_runs_alone_with_older_versions_and_again_without_a_network(
    name, cold, origin, tmp_path
):
    """First with the data where they are at hand; cut off, on the samples, with what is there."""
    before = packages(cold)
    copy = run(copy_of(name, origin), cold, tmp_path)
    again = run(copy_of(name, origin), cold, tmp_path, True, COURSE_DATA="", COURSE_CACHE="none")
    assert packages(cold) == before
    data = [re.findall(r"^data +\w+: (\w+)", said(run), re.M) for run in (copy, again)]
    assert data[1] == ["sample"] * len(data[0])


# --- The text ---

RAW = re.compile(r":::|```\{|\{[a-z:]+\}`|^\([\w-]+\)=$|^:\w+:|\$\$ \(|\]\([^)]*\.md", re.M)


def texts(notebook):
    """Return the text cells of a notebook, by id."""
    return {cell.id: cell.source for cell in notebook.cells if cell.cell_type == "markdown"}


@pytest.fixture(params=NAMES)
def chapter(request):
    """Return a chapter, its copy and its page."""
    paths = ROOT / f"chapters/{request.param}.ipynb", COPIES / f"{request.param}.ipynb"
    page = soup(ROOT / f"_build/html/chapters/{request.param}.html").select_one("article")
    return *(nbformat.read(path, as_version=4) for path in paths), page


def test_copy_has_the_code_and_the_outputs_of_its_page(chapter):
    notebook, copy, _ = chapter
    kept = [cell for cell in copy.cells[1:] if cell.cell_type == "code"]
    assert [cell.id for cell in kept] == [cell.id for cell in code_cells(notebook)]
    for cell, kept_cell in zip(code_cells(notebook), kept, strict=True):
        lines = [line for line in cell.source.splitlines() if "import glue" not in line]
        assert "\n".join(lines) in kept_cell.source
        assert profile() == "full" or kept_cell.outputs == cell.outputs


def test_copy_has_no_myst_and_says_what_the_page_says(chapter):
    notebook, copy, page = chapter
    text = "\n".join(texts(copy).values())
    assert RAW.findall(text) == []
    assert len(RAW.findall("\n".join(texts(notebook).values()))) > 20
    text = text.replace("*", "")
    shown = [
        a.get_text()
        for a in page.select("a.reference.internal[href*='#']:not(.admonition-title a)")
    ]
    missing = [words for words in shown if re.sub(r"\s+", " ", words) not in text]
    assert missing == []
    for figure in page.select("figure figcaption p"):
        number = figure.select_one(".caption-number").get_text().strip()
        assert f"{number} " in text
    for equation in page.select("span.eqno"):
        assert f"\\tag{{{re.search(r'[0-9.]+', equation.get_text())[0]}}}" in text
    works = [work.get_text() for work in page.select(".citation > p")]
    assert len(works) and all(work[:40] in text for work in works)


def test_solutions_are_folded_and_nothing_else(chapter):
    notebook, copy, page = chapter
    inside, solutions = False, set()
    for cell in notebook.cells:
        inside = inside or "{solution-start}" in cell.source
        if inside:
            solutions.add(cell.id)
        if "{solution-end}" in cell.source:
            inside = cell.source.rindex("{solution-end}") < cell.source.rfind("{solution-start}")
    hidden = {
        cell.id
        for cell in copy.cells
        if cell.metadata.get("jupyter", {}).get("outputs_hidden")
        and cell.metadata["jupyter"]["source_hidden"]
        and cell.metadata["cellView"] == "form"
    }
    assert hidden == {cell.id for cell in code_cells(notebook)} & solutions
    for name, text in texts(copy).items():
        assert text.count("<details>") == text.count("</details>")
        assert ("<details>" in text) == (name.removesuffix("-caption") in solutions), name
    titles = re.findall(r"^### (Exercise [\d.]+) \(", "\n".join(texts(copy).values()), re.M)
    assert len(titles) == len(page.select("div.exercise")) >= 3
    for title in titles:
        assert any(f"Solution to {title}</summary>" in text for text in texts(copy).values())


# --- The first cell ---


@pytest.fixture
def first_cell(cold, origin, tmp_path):
    """Return a function that runs the first cell; it returns what it said, and where utils is."""

    def first_cell(before="", address=origin[0], **env):
        cell = copy_of(QUICK, (address, origin[1])).cells[0].source
        cell = cell.replace(" d2l==1.0.3", "")  # which takes the network
        env = {"PATH": os.environ["PATH"], **env}
        options = {"cwd": tmp_path, "env": env, "capture_output": True, "text": True}
        run = subprocess.run(
            [cold, "-c", f"{before}\n{cell}\nimport utils; print(utils.__file__)"], **options
        )
        assert run.returncode == 0, run.stderr
        assert run.stderr == ""
        return run.stdout.strip()

    return first_cell


def test_first_cell_is_short_and_does_nothing_twice(first_cell, origin, tmp_path):
    assert len(copy_of(QUICK, origin).cells[0].source.splitlines()) <= 25
    place = f"{tmp_path}/course-{origin[1][:9]}/utils/__init__.py"
    assert first_cell() == place
    Path(place).write_text("# changed by the reader")
    assert first_cell() == place
    assert Path(place).read_text() == "# changed by the reader"
    assert [path.name for path in tmp_path.iterdir()] == [f"course-{origin[1][:9]}"]


def test_first_cell_leaves_alone_where_the_course_is(first_cell, tmp_path):
    assert first_cell(PYTHONPATH=str(ROOT)) == f"{ROOT}/utils/__init__.py"
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("loaded", ["", "import utils"])
@pytest.mark.parametrize("other", ["utils.py", "utils/__init__.py", "utils/text.py"])
def test_first_cell_says_whose_other_utils_it_passes_over(first_cell, tmp_path, other, loaded):
    (tmp_path / other).parent.mkdir(exist_ok=True)
    (tmp_path / other).write_text("x = 1")
    told, place = first_cell(before=loaded).splitlines()
    assert told.startswith("Not the course's utils: ") and str(tmp_path) in told
    assert place.startswith(f"{tmp_path}/course-")


def test_first_cell_takes_the_archive_where_there_is_no_git(first_cell, origin, tmp_path):
    served = tmp_path / "served/owner/name/archive"
    shutil.copytree(ROOT / "utils", tmp_path / "content/name-1/utils")
    shutil.make_archive(str(served / origin[1]), "zip", tmp_path / "content")
    handler = partial(SimpleHTTPRequestHandler, directory=tmp_path / "served")
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        Thread(target=server.serve_forever, daemon=True).start()
        address = f"http://127.0.0.1:{server.server_port}/owner/name"
        assert first_cell(address=address, PATH="").endswith("/name-1/utils/__init__.py")
        server.shutdown()


def test_first_cell_asks_for_all_that_the_helpers_import():
    trees = [ast.parse(path.read_text()) for path in (ROOT / "utils").glob("*.py")]
    nodes = [node for tree in trees for node in ast.walk(tree)]
    names = {alias.name for n in nodes if isinstance(n, ast.Import) for alias in n.names}
    names |= {node.module for node in nodes if isinstance(node, ast.ImportFrom)}
    tops = {name.partition(".")[0] for name in names} - sys.stdlib_module_names
    tops -= {"utils", "torch", "numpy", "matplotlib", "IPython"}  # which are there
    wanted, queue = set(), sorted(tops)
    while queue:
        wanted.add(name := queue.pop())
        needed = map(Requirement, distribution(name).requires or [])
        queue += [n.name for n in needed if not n.marker or n.marker.evaluate({"extra": ""})]
    assert {name.replace("-", "_") for name in wanted} == set(reader_notebooks.NEEDS.split())
