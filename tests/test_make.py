"""The commands: what they say and leave, with stand-ins for the tools."""

import ast
import os
import pty
import re
import shlex
import shutil
import socket
import subprocess
import sys
from pathlib import Path
from urllib.request import urlopen

import pytest
from site_pages import served

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT / ".ci"))
import published  # noqa: E402

import course  # noqa: E402

MAKE = shutil.which("make")
PARTS = ["jupyter-book build . -W -n", "ruff check .", "ruff format --check ."]
PARTS += ["python -m pytest tests --cov --cov-report=term -n", "python -m pytest chapters --nbval"]
TORCH = course.torch_pin()[len("torch==") :]
# It stands in for python3, for .venv/bin/python and for the tools beside it. It writes down how it
# was called, knows how to make a .venv of itself, and fails where FAIL is among its arguments.
STAND_IN = f"""#!/bin/sh
[ "$1" = course.py ] && exec {sys.executable} -c "import runpy, sys
sys.executable, sys.argv = '$0', sys.argv[1:]
runpy.run_path('course.py', run_name='__main__')" "$@"
echo "$(basename "$0") $*" >> calls
case "$0 $*" in
  .venv*version_info*) cat .venv/minor ;;
  *version_info*) echo "$MINOR" ;;
  *"-m venv --clear .venv") mkdir -p .venv/bin; for name in python jupyter-book ruff; do
    cp "$0" .venv/bin/$name; done; echo "$MINOR" > .venv/minor
    echo "command = python3 -m venv --clear $PWD/.venv" > .venv/pyvenv.cfg ;;
esac
case "$(basename "$0") $*" in *"${{FAIL:-nothing}}"*) echo "no way" >&2; exit 1 ;; esac
"""


@pytest.fixture
def tree(tmp_path):
    """Return a folder with what the commands read, where python3 is the stand-in."""
    folder = tmp_path / "tree"
    (folder / "path").mkdir(parents=True)
    for name in ["Makefile", "course.py", *course.PINS]:
        shutil.copy2(ROOT / name, folder)
    for name in ["basename", "cat", "cp", "mkdir"]:
        (folder / "path" / name).symlink_to(shutil.which(name))
    add(folder, "python3", STAND_IN)
    return folder


def add(tree, name, script):
    (tree / "path" / name).write_text(script)
    (tree / "path" / name).chmod(0o755)


def make(tree, *arguments, stdout=subprocess.PIPE, **variables):
    """Run make in the tree; return its result, what it printed as text."""
    env = {"PATH": str(tree / "path"), "HOME": str(tree), "MINOR": "12", **variables}
    options = {"stdout": stdout, "stderr": subprocess.PIPE, "text": True, "timeout": 400}
    return subprocess.run([MAKE, *arguments], cwd=tree, env=env, **options)


def calls(tree, word=""):
    """Return the calls of the stand-ins so far that have a word in them."""
    lines = (tree / "calls").read_text().splitlines() if (tree / "calls").exists() else []
    return [line for line in lines if word in line and 'f""' not in line]


def words(result):
    """Return what a failing command says of its own, after checking that it says no more."""
    assert result.returncode != 0 and "Traceback" not in result.stderr
    return "\n".join(line for line in result.stderr.splitlines() if not line.startswith("make"))


def test_every_command_is_described_in_a_line_and_those_that_pages_name_exist(tree):
    alone = make(tree)
    assert alone.stdout == make(tree, "help").stdout
    lines = [re.fullmatch(r"make (\S+) +(\S.{15,})", line) for line in alone.stdout.splitlines()]
    targets = re.search(r"^COMMANDS := (.+)$", (ROOT / "Makefile").read_text(), re.M)[1].split()
    assert [line[1] for line in lines] == targets == list(course.COMMANDS)
    assert calls(tree) == []
    for path in [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *ROOT.glob("pages/*.md")]:
        text = path.read_text("utf-8")
        described = re.findall(r"^\| `make ([\w-]+)`", text, re.M)  # in one page, each once
        assert sorted(described) == (sorted(targets) if path.name == "running.md" else [])
        for command in re.findall(r"(?:^|`)(?:make|py.* course\.py) ([a-z].*?)(?:`|$)", text, re.M):
            goal, *settings = shlex.split(command, comments=True)
            names = {setting.partition("=")[0] for setting in settings} - {"COURSE_PROFILE"}
            assert goal in targets and names <= {"PYTHON", "TORCH", "PORT", "NOTEBOOKS"}, command


def test_a_python_that_will_not_do_is_told_before_anything_is_made(tree):
    ast.parse((ROOT / "course.py").read_text(), feature_version=(3, 6))
    older = "Python 3.11 or newer is needed, and python3 is older."
    newer = f"PyTorch {TORCH} has no build for Python 3.15, only up to 3.14."
    hint = "Name another one: make test PYTHON=python3.12"
    for minor, reason in {"10": older, "-93": older, "15": newer}.items():  # -93 is 2.7
        assert words(make(tree, "test", "PYTHON=python3", MINOR=minor)) == f"{reason} {hint}"
    said = words(make(tree, "test", "PYTHON=no-such-python"))
    assert said.endswith(f"no-such-python does not run course.py. {hint}")
    assert not (tree / ".venv").exists()


@pytest.mark.parametrize("minor", ["11", "14"])
def test_set_up_says_what_it_does_and_is_done_once(tree, minor):
    said = make(tree, "book", MINOR=minor).stdout
    steps = ["1.8 GB", f"Making .venv with Python 3.{minor}", "Installing PyTorch", "Set-up is"]
    assert re.search(".*".join(map(re.escape, steps)), said, re.S)
    assert [call.partition(" --quiet ")[2] for call in calls(tree, "pip install")] == [
        f"--no-deps --index-url {course.CPU_INDEX} --timeout 15 --retries 0 torch=={TORCH}",
        "--requirement requirements.txt --constraint constraints.txt",
        "--requirement requirements-nodeps.txt --no-deps",
    ]
    for settings in [[], ["TORCH=cpu"], ["PYTHON=python3"]]:
        assert "Set-up" not in make(tree, "book", *settings, MINOR=minor).stdout
    (tree / "constraints.txt").write_text("")
    assert make(tree, "book", MINOR="15").stdout.startswith("Set-up again: what .venv has to hold")
    assert len(calls(tree, "-m venv")) == 1  # what was there has been brought up to date


def test_pip_shows_its_progress_in_a_terminal(tree):
    ours, theirs = pty.openpty()
    make(tree, "book", stdout=theirs)
    os.close(theirs)
    os.close(ours)
    assert calls(tree, "pip install") and not calls(tree, "--quiet")


def test_a_failed_installation_asks_for_the_network_and_is_not_ready(tree):
    make(tree, "book")
    pins = (tree / "constraints.txt").read_text()
    for fail in ["--requirement requirements.txt", "requirements-nodeps.txt"]:
        (tree / "constraints.txt").write_text("")
        said = words(make(tree, "book", FAIL=fail))
        assert re.fullmatch(r"no way\n.* needs the network.*\n.* make book", said)
        (tree / "constraints.txt").write_text(pins)  # and yet half of it may be the other one's
    assert make(tree, "book").stdout.startswith("Set-up again")


def test_a_venv_that_cannot_be_kept_is_made_anew_and_says_why(tree):
    def anew(*settings, **variables):
        before = len(calls(tree, "-m venv"))
        said = make(tree, "book", *settings, **variables).stdout
        assert len(calls(tree, "-m venv")) == before + said.startswith("Set-up")
        return said.partition("\n")[0].removeprefix("Set-up again: ")

    anew()
    assert anew("PYTHON=python3", MINOR="13") == "it has Python 3.12"
    assert anew("TORCH=cuda") == "TORCH=cuda asks for another PyTorch"
    (tree / ".venv/minor").unlink()
    assert anew() == "its Python does not run"
    kept = (tree / ".venv").rename(tree.with_name("kept"))
    (tree / ".venv").symlink_to(kept)
    (kept / "minor").unlink()
    assert anew() == "its Python does not run" and not (tree / ".venv").is_symlink()
    old, tree = tree, tree.rename(tree.with_name("moved"))
    assert anew() == f"it was made in another folder, {old}"
    assert anew().startswith("The book took")


@pytest.mark.parametrize("card", [True, False])
def test_only_where_there_is_a_card_pytorch_comes_with_cuda(tree, card):
    add(tree, "nvidia-smi", f"#!/bin/sh\nexit {0 if card else 9}\n")
    assert ("several GB more" in make(tree, "book").stdout) == card
    assert len(calls(tree, course.CPU_INDEX)) == (not card)
    said = words(make(tree, "book", "TORCH=gpu"))
    assert said == "TORCH=gpu is not known: TORCH=cpu and TORCH=cuda are"


def test_where_the_index_of_the_build_for_the_cpu_does_not_answer_the_usual_one_has_to_do(tree):
    said = make(tree, "book", TORCH_INDEX="http://own", FAIL="--index-url http://own")
    assert said.returncode == 0 and "did not answer" in said.stdout
    assert len(calls(tree, "pip install")) == 3


@pytest.mark.parametrize("last", [*PARTS, "nothing"])
def test_tests_build_the_book_once_and_end_at_the_first_part_that_fails(tree, last):
    """Where Sphinx stops at a warning, it forgets what it read, and will meet the warning again."""
    said = make(tree, "test", FAIL=last)
    ran = [part for call in calls(tree) for part in PARTS if call.startswith(part)]
    assert ran == PARTS[: [*PARTS, "nothing"].index(last) + 1]
    assert last == "nothing" or words(said) == "no way"


def test_ci_does_not_go_without_a_browser(tree):
    assert words(make(tree, "test", CI="true")).startswith("No Chromium or Google Chrome was found")
    add(tree, "chromium", "")
    assert make(tree, "test", CI="true").returncode == 0


def test_serve_shows_the_site_on_the_port_that_is_asked_for_or_says_why_not(tree):
    assert words(make(tree, "serve")) == "There is no built site yet: make book builds it."
    (tree / "_build/html").mkdir(parents=True)
    (tree / "_build/html/index.html").write_text("the book")
    with socket.create_server(("127.0.0.1", 0)) as server:
        for port in ["http", server.getsockname()[1]]:
            said = words(make(tree, "serve", f"PORT={port}"))
            assert re.fullmatch(rf"Port {port} is busy, .*: make serve PORT=8123", said)
    for asked in [port, 0]:  # 0 is any that is free
        command = [sys.executable, "course.py", "serve", f"PORT={asked}"]
        with subprocess.Popen(command, cwd=tree, text=True, stdout=subprocess.PIPE) as server:
            try:
                url = re.search(r"http://127.0.0.1:(\d+)/", server.stdout.readline())
                assert int(url[1]) == asked or not asked
                assert urlopen(url[0]).read() == b"the book"
            finally:
                server.terminate()


def test_record_says_what_is_no_notebook_and_takes_patterns(tree):
    (tree / "chapters").mkdir()
    for name in ["01_a.ipynb", "02_b.ipynb", "a.txt"]:
        (tree / "chapters" / name).touch()
    for wrong in ["", "chapters", "chapters/03*.ipynb", "chapters/0*.ipynb chapters/a.txt"]:
        said = words(make(tree, "record", f"NOTEBOOKS={wrong}"))
        assert f" no notebook{wrong and ' '}{wrong.rpartition(' ')[2]}. Name one, such as: " in said
    assert not calls(tree, "chapter_runs")
    make(tree, "record", "NOTEBOOKS=chapters/0*.ipynb")
    make(tree, "record")
    recorded = "python _ext/chapter_runs.py chapters/01_a.ipynb chapters/02_b.ipynb"
    assert calls(tree, "chapter_runs") == [recorded] * 2


def test_a_deployment_that_deployed_nothing_fails(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name in ["chapters/01_a.ipynb", "pages/b.md", "index.md"]:
        for path in [Path(name), "site" / Path(name).with_suffix(".html")]:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text("word " * 300)
    published.holds("site", ".html")
    for page in Path("site").rglob("*.html"):
        page.write_text("")
        with pytest.raises(SystemExit, match=page.name):
            published.holds("site", ".html")
        page.write_text("word " * 300)
    with pytest.raises(SystemExit, match=r"01_a\.ipynb$"):
        published.holds("site", ".ipynb")
    with served("site") as url:
        for reason in ["404", "older"]:
            with pytest.raises(SystemExit, match=reason):
                published.serves(url, "this", tries=2, pause=0)
            Path("site/commit.txt").write_text("older")
        Path("site/commit.txt").write_text("this\n")
        published.serves(url, "this", tries=1)


def test_the_citation_is_of_this_version():
    (version,) = re.findall(r'^version = "(.+)"', (ROOT / "pyproject.toml").read_text(), re.M)
    assert f"\nversion: {version}\n" in (ROOT / "CITATION.cff").read_text()
