"""The commands of the course: `python course.py` lists them, and make runs them.

This file asks for no more than Python 3.6, so that a Python too old for the course is told so.
"""

import hashlib
import os
import re
import shutil
import subprocess
import sys
import time
from functools import partial
from glob import glob
from pathlib import Path

MAKE = "make" if "MAKELEVEL" in os.environ else "python course.py"
BIN = Path(".venv", "Scripts" if os.name == "nt" else "bin")
READY = Path(".venv", ".ready")  # which PyTorch .venv holds, and a hash of what it was made from
PINS = ["requirements.txt", "requirements-nodeps.txt", "constraints.txt", "pyproject.toml"]
CPU_INDEX = "https://download.pytorch.org/whl/cpu"  # a tenth of the size of the build with CUDA
PARALLEL = ["--dist", "loadgroup", "--no-loadscope-reorder"]
CHINESE = """import sys; from utils.plotting import cjk_fonts; sys.exit(not cjk_fonts() and
"Figures with Chinese text need a font for it to be recorded: install Noto Sans CJK.")"""
say = partial(print, flush=True)  # or what pip and the tools say would come before it
quietly = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}


def read(path):
    """Return the text of a file; it is empty where there is no such file."""
    return Path(path).read_text(encoding="utf-8", errors="replace") if Path(path).exists() else ""


def tool(name, *arguments, **variables):
    """Run a program of .venv; where it fails, end as it did."""
    code = subprocess.call([str(BIN / name), *arguments], env={**os.environ, **variables})
    if code:
        sys.exit(code)


def pytest(*arguments):
    """Run tests side by side; one worker more than cores, since each now and then waits."""
    workers = ["-n", str(os.cpu_count() + 1), "--maxprocesses", "8"]
    tool("python", "-m", "pytest", *arguments, *workers, *PARALLEL)


def minor(python, imports="sys"):
    """Return 12 for Python 3.12, less than 0 for Python 2, and None where it does not run."""
    code = f"import {imports}; print(sys.version_info[0] * 100 + sys.version_info[1] - 300)"
    try:
        return int(subprocess.check_output([*python, "-c", code], stderr=subprocess.DEVNULL))
    except (OSError, ValueError, subprocess.CalledProcessError):
        return None


def check(python, goal):
    """Return the minor version of a Python, or end where PyTorch has no build for it."""
    number, name = minor(python), " ".join(python)
    hint = f"Name another one: {MAKE} {goal} PYTHON=python3.12"
    # Which Pythons will do stands in pyproject.toml: requires-python = ">=3.11,<3.15"
    bounds = re.search(r'^requires-python = ">=3\.(\d+),<3\.(\d+)"', read("pyproject.toml"), re.M)
    oldest, too_new = map(int, bounds.groups())
    if number is None:
        sys.exit(f"{name} does not run. {hint}")
    if number < oldest:
        sys.exit(f"Python 3.{oldest} or newer is needed, and {name} is older. {hint}")
    if number >= too_new:
        builds = f"no build for Python 3.{number}, only up to 3.{too_new - 1}"
        sys.exit(f"PyTorch {torch_pin()[7:]} has {builds}. {hint}")
    return number


def torch_pin():
    """Return PyTorch's line in requirements.txt."""
    return re.search(r"^torch==\S+", read("requirements.txt"), re.M)[0]


def why_anew(python, torch, held):
    """Say why .venv cannot be kept; return None where it can."""
    number = minor([str(BIN / "python")], "sys, pip")
    made = re.search(r"^command = .* -m venv (?:-\S+ )*(.+)$", read(".venv/pyvenv.cfg"), re.M)
    if number is None:
        return "its Python does not run"
    if made and Path(made[1]).resolve() != Path(".venv").resolve():
        return f"it was made in another folder, {Path(made[1]).parent}"
    if os.environ.get("PYTHON") and number != minor(python):
        return f"it has Python 3.{number}"
    if torch and torch != held:
        return f"TORCH={torch} asks for another PyTorch"
    return None


def set_up(goal):
    """Make .venv, or bring it up to date, unless it is ready."""
    torch = os.environ.get("TORCH", "")
    if torch not in ("", "cpu", "cuda"):
        sys.exit(f"TORCH={torch} is not known: TORCH=cpu and TORCH=cuda are")
    given = os.environ.get("PYTHON", "").strip()  # a path, spaces and all, or such as: py -3.12
    python = [given] if shutil.which(given) else given.split() or [sys.executable]
    pins = hashlib.sha256("".join(map(read, PINS)).encode()).hexdigest()
    held, _, made_from = read(READY).partition(" ")
    keep = Path(".venv").exists()
    if keep:
        reason = why_anew(python, torch, held)
        if not reason and made_from == pins:
            return
        keep = not reason
        say("Set-up again:", reason or "what .venv has to hold may have changed")
    if not torch and not held:
        card = shutil.which("nvidia-smi") and not subprocess.call(["nvidia-smi", "-L"], **quietly)
        torch = "cpu" if sys.platform == "linux" and not card else "cuda"
    torch = torch or held
    if not keep:
        make_venv(python, check(python, goal), torch, goal)
    if READY.exists():
        READY.unlink()
    install(torch, goal)
    READY.write_text(f"{torch} {pins}")
    say("Set-up is done.")


def make_venv(python, number, torch, goal):
    """Make .venv, with nothing in it."""
    more = ", and several GB more for the libraries of CUDA" if torch == "cuda" else ""
    say(f"Set-up, once: about 3 minutes, 1.8 GB of disk{more}.")
    say(f"Making .venv with Python 3.{number} ...")
    if Path(".venv").is_symlink():  # what it leads to is not ours to empty
        Path(".venv").unlink()
    if subprocess.call([*python, "-m", "venv", "--clear", ".venv"]):
        sys.exit(f"The reason why there is no .venv stands above. Then try again: {MAKE} {goal}")


def install(torch, goal):
    """Install what is pinned; PyTorch first, where its build for the CPU can be had."""
    quiet = [] if sys.stdout.isatty() else ["--quiet"]  # pip's progress bars are for terminals
    pip = [str(BIN / "python"), "-m", "pip", "install", *quiet]
    os.environ["PIP_DISABLE_PIP_VERSION_CHECK"] = "1"
    say("Installing PyTorch, Jupyter Book and the tools ...")
    if torch == "cpu":
        index = os.environ.get("TORCH_INDEX", CPU_INDEX)
        once = ["--index-url", index, "--timeout", "15", "--retries", "0"]
        if subprocess.call([*pip, "--no-deps", *once, torch_pin()]):
            say("PyTorch's own index did not answer. The package index has to do.")
    pinned = ["--requirement", "requirements.txt", "--constraint", "constraints.txt"]
    for what in pinned, ["--requirement", "requirements-nodeps.txt", "--no-deps"]:
        if subprocess.call([*pip, *what]):
            hint = f"It needs the network: is there one?\nThen try again: {MAKE} {goal}"
            sys.exit(f"The installation failed, for the reason above. {hint}")


def help():
    """list these commands"""
    for name, command in COMMANDS.items():
        say(f"{MAKE} {name:10} {command.__doc__}")


def book():
    """build the site in _build/html; PYTHON=python3.12 and TORCH=cpu say what .venv is made of"""
    begin = time.time()
    tool("jupyter-book", "build", ".", "-W", "-n")
    took = f"The book took {time.time() - begin:.0f} s"
    say(f"{took}: _build/html/index.html ({MAKE} serve shows it).")


def test():
    """build the book; check style, units, and the stored outputs of every chapter"""
    browser = any(map(shutil.which, ["chromium", "google-chrome"]))
    if os.environ.get("CI", "false") != "false" and not browser:
        sys.exit("No Chromium or Google Chrome was found, and CI has to test the site in one.")
    book()
    tool("ruff", "check", ".")
    tool("ruff", "format", "--check", ".")
    pytest("tests", "--cov", "--cov-report=term")
    pytest("chapters", "--nbval")


def notebooks():
    """write copies of the chapters for Colab, Kaggle and editors"""
    book()
    say(f"The copies are in _build/notebooks; {MAKE} test-colab runs them.")


def test_colab():
    """run every copy with Colab's versions, in an empty folder, then without a network"""
    notebooks()
    pytest("tests/test_notebooks.py", "-m", "")


def record():
    """store the outputs of a full run with the real data; NOTEBOOKS=chapters/09_imdb.ipynb"""
    names = os.environ.get("NOTEBOOKS", "chapters/*.ipynb").split()
    paths = [path for name in names for path in sorted(glob(name)) or [name]]
    wrong = [path for path in paths if not (path.endswith(".ipynb") and Path(path).is_file())]
    if wrong or not paths:
        said = f"There is no notebook {wrong[0]}." if wrong else "NOTEBOOKS names no notebook."
        sys.exit(f"{said} Name one, such as: {MAKE} record NOTEBOOKS=chapters/09_imdb.ipynb")
    tool("python", "-c", CHINESE)
    full = {"COURSE_PROFILE": "full", "COURSE_REQUIRE_DATA": "1"}
    tool("python", "_ext/chapter_runs.py", *paths, **full)


def serve():
    """show the built site on this computer alone; PORT=8123 names another port than 8000"""
    from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer

    port = os.environ.get("PORT") or "8000"
    if not Path("_build/html/index.html").exists():
        sys.exit(f"There is no built site yet: {MAKE} book builds it.")
    try:
        server = ThreadingHTTPServer(("127.0.0.1", int(port)), SimpleHTTPRequestHandler)
    except (OSError, OverflowError, ValueError):
        sys.exit(f"Port {port} is busy, or no port. Name another one: {MAKE} serve PORT=8123")
    os.chdir("_build/html")
    say(f"The site is at http://127.0.0.1:{server.server_port}/ until you press Ctrl-C.")
    server.serve_forever()


def zip():
    """pack the built site into one file"""
    book()
    name = "_build/recurrent-networks-course"
    say("The site is packed in", shutil.make_archive(name, "zip", "_build", "html"))


def bench():
    """time the course's own choices against the usual ones"""
    tool("python", "-m", "benchmarks.ratios")


def linkcheck():
    """ask every address that the book names; needs the network"""
    tool("jupyter-book", "build", ".", "--builder", "linkcheck")


def lock():
    """write constraints.txt anew after a change of requirements.txt; needs the network"""
    python = str(Path("_build", "lock", BIN.name, "python"))
    subprocess.check_call([sys.executable, "-m", "venv", "_build/lock"])
    subprocess.check_call([python, "-m", "pip", "install", "--quiet", "uv==0.13.9"])
    options = "--quiet --universal --python-version 3.11 --annotation-style line"
    options += " --no-emit-package recurrent-networks-course --output-file constraints.txt"
    command = [python, "-m", "uv", "pip", "compile", "requirements.txt", *options.split()]
    subprocess.check_call([*command, "--custom-compile-command", "make lock"])


def clean():
    """remove .venv and all that was built"""
    for folder in ["_build", ".venv"]:
        shutil.rmtree(folder, ignore_errors=True)


COMMANDS = [help, book, test, notebooks, test_colab, record, serve, zip, bench, linkcheck, lock]
COMMANDS = {command.__name__.replace("_", "-"): command for command in [*COMMANDS, clean]}


def main(arguments):
    """Run a command, with settings beside it as make takes them: book TORCH=cpu."""
    os.chdir(str(Path(__file__).resolve().parent))
    os.environ.update(argument.split("=", 1) for argument in arguments if "=" in argument)
    # Kernels take their figures' backend from the course, not from the caller's shell.
    os.environ.pop("MPLBACKEND", None)
    goal, *others = [argument for argument in arguments if "=" not in argument] or ["help"]
    if others or goal not in COMMANDS:
        sys.exit(f"One of these commands is expected: {', '.join(COMMANDS)}")
    if COMMANDS[goal] not in (help, serve, lock, clean):
        set_up(goal)
    COMMANDS[goal]()


if __name__ == "__main__":
    try:
        main(sys.argv[1:])
    except KeyboardInterrupt:
        sys.exit(130)
