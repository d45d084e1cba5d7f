"""The commands, with stand-ins for Python and its tools: what they say, and what they leave."""

import os
import pty
import re
import shutil
import socket
import subprocess
import sys
from pathlib import Path
from urllib.request import urlopen

import pytest

ROOT = Path(__file__).parents[1]
FILES = ["Makefile", "setup.sh", "pyproject.toml", "requirements.txt"]
FILES += ["requirements-nodeps.txt", "constraints.txt"]
# It stands in for python3, for .venv/bin/python and for the tools beside it. It writes down how it
# was called, knows how to make a .venv of itself, and fails where FAIL is among its arguments.
STAND_IN = """#!/bin/sh
echo "$(basename "$0") $*" >> calls
case "$*" in
  *version_info*) echo "$MINOR" ;;
  "-m venv .venv") mkdir -p .venv/bin; for name in python jupyter-book ruff; do
    cp "$0" .venv/bin/$name; done ;;
esac
case "$(basename "$0") $*" in *"${FAIL:-nothing}"*) echo "no way" >&2; exit 1 ;; esac
"""


@pytest.fixture
def tree(tmp_path):
    """Return a folder with what the commands read, where python3 is the stand-in."""
    for name in FILES:
        shutil.copy2(ROOT / name, tmp_path)
    (tmp_path / "path").mkdir()
    (tmp_path / "path/python3").write_text(STAND_IN)
    (tmp_path / "path/python3").chmod(0o755)
    return tmp_path


def make(tree, *arguments, stdout=subprocess.PIPE, **variables):
    """Run make in the tree; return its result, what it printed as text."""
    env = {name: os.environ[name] for name in ("HOME", "PATH") if name in os.environ}
    env |= {"PATH": f"{tree / 'path'}:{env['PATH']}", "MINOR": "12", **variables}
    return subprocess.run(
        ["make", *arguments], cwd=tree, env=env, stdout=stdout, stderr=subprocess.PIPE, text=True
    )


def calls(tree):
    """Return the calls of the stand-ins so far."""
    return (tree / "calls").read_text().splitlines() if (tree / "calls").exists() else []


def words(result):
    """Return what a failing command says of its own, after checking that it says no more."""
    assert result.returncode != 0
    lines = [line for line in result.stderr.splitlines() if not line.startswith("make")]
    assert "Traceback" not in result.stderr and "usage:" not in result.stderr
    return "\n".join(lines)


def test_make_alone_and_make_help_describe_every_command_in_a_line(tree):
    alone = make(tree)
    assert alone.stdout == make(tree, "help").stdout
    phony = re.search(r"^\.PHONY: (.+)$", (ROOT / "Makefile").read_text(), re.M)[1].split()
    lines = [re.fullmatch(r"make (\S+) +(\S.{15,})", line) for line in alone.stdout.splitlines()]
    assert [line[1] for line in lines] == phony
    assert calls(tree) == []


@pytest.mark.parametrize("goal", ["book", "test"])
def test_a_python_that_will_not_do_is_told_before_anything_is_made(tree, goal):
    hint = f"Name another one: make {goal} PYTHON=python3.12"
    torch = re.search(r"^torch==(.+)$", (ROOT / "requirements.txt").read_text(), re.M)[1]
    for minor, reason in {
        "10": "Python 3.11 or newer is needed, and python3 is older.",
        "-93": "Python 3.11 or newer is needed, and python3 is older.",  # 2.7
        "15": f"PyTorch {torch} has no build for Python 3.15, only up to 3.14.",
    }.items():
        assert words(make(tree, goal, MINOR=minor)) == f"{reason} {hint}"
    said = words(make(tree, goal, "PYTHON=no-such-python"))
    assert said.endswith(f"no-such-python does not run. {hint}")
    assert not (tree / ".venv").exists()


@pytest.mark.parametrize("minor", ["11", "14"])
def test_set_up_says_what_it_does_and_is_done_once(tree, minor):
    said = make(tree, "book", MINOR=minor).stdout
    steps = [
        "1.8 GB",
        f"Making .venv with Python 3.{minor}",
        "Installing PyTorch",
        "Set-up is done",
    ]
    places = [said.index(step) for step in steps]
    assert places == sorted(places)
    installs = [call for call in calls(tree) if "pip install" in call]
    assert [re.findall(r"\S+\.txt", call) for call in installs] == [
        ["requirements.txt", "constraints.txt"],
        ["requirements-nodeps.txt"],
    ]
    assert all("--quiet" in call for call in installs)
    assert "Set-up" not in make(tree, "book").stdout
    os.utime(tree / ".venv/.ready", (10**8, 10**8))  # older than requirements.txt
    assert make(tree, "book").stdout.startswith("Set-up again")


def test_pip_shows_its_progress_in_a_terminal(tree):
    ours, theirs = pty.openpty()
    make(tree, "book", stdout=theirs)
    os.close(theirs)
    os.close(ours)
    installs = [call for call in calls(tree) if "pip install" in call]
    assert len(installs) == 2 and not any("--quiet" in call for call in installs)


@pytest.mark.parametrize("fail", ["requirements.txt", "requirements-nodeps.txt"])
def test_a_failed_installation_asks_for_the_network_and_is_not_ready(tree, fail):
    make(tree, "book")
    os.utime(tree / ".venv/.ready", (10**8, 10**8))  # older than requirements.txt
    said = words(make(tree, "book", FAIL=fail))
    assert said.startswith("no way\n") and "needs the network" in said
    assert said.endswith("make book")
    assert not (tree / ".venv/.ready").exists()


def test_the_book_ends_at_its_first_warning_and_tests_do_not_build_it_twice(tree):
    """Where Sphinx stops at a warning, it forgets what it read, and will meet the warning again."""
    assert make(tree, "test").returncode == 0
    tools = [call for call in calls(tree) if not call.startswith("python3 ") and "pip" not in call]
    assert tools[0] == "jupyter-book build . -W -n"
    assert [call.split(" -n ")[0] for call in tools[1:]] == [
        "ruff check .",
        "ruff format --check .",
        "python -m pytest tests --cov --cov-report=term",
        "python -m pytest chapters --nbval",
    ]


@pytest.mark.parametrize("fail", ["jupyter-book", "ruff check", "pytest tests", "--nbval"])
def test_tests_fail_where_a_part_of_them_does(tree, fail):
    assert words(make(tree, "test", FAIL=fail)) == "no way"
    assert fail in calls(tree)[-1]


def built(tree):
    """Put a page where the site is built."""
    (tree / "_build/html").mkdir(parents=True)
    (tree / "_build/html/index.html").write_text("the book")


def free_port():
    """Return a port that nothing listens on."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        return server.getsockname()[1]


def test_serve_says_in_a_line_that_there_is_no_site_or_that_the_port_is_busy(tree):
    python = f"PYTHON={sys.executable}"
    assert words(make(tree, "serve", python)) == "There is no built site yet: make book builds it."
    built(tree)
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        said = words(make(tree, "serve", python, f"PORT={port}"))
    assert said == f"Port {port} is busy. Name another one: make serve PORT=8123"


def test_serve_shows_the_site_on_the_port_that_is_asked_for(tree):
    built(tree)
    port = free_port()
    command = [
        "make",
        "--no-print-directory",
        "serve",
        f"PYTHON={sys.executable} -u",
        f"PORT={port}",
    ]
    pipe = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT, "start_new_session": True}
    with subprocess.Popen(command, cwd=tree, text=True, **pipe) as server:
        assert f"http://127.0.0.1:{port}/" in server.stdout.readline()
        with urlopen(f"http://127.0.0.1:{port}/") as answer:
            assert answer.read() == b"the book"
        os.killpg(server.pid, 15)
