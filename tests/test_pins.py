"""What the project uses is pinned: packages and what they need, the actions of the workflows."""

import ast
import re
import sys
from importlib.metadata import distribution, packages_distributions

import nbformat
import yaml
from notebooks import ROOT
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name as canonical

import course

CODE = [*ROOT.glob("*.py"), ROOT / ".ci/published.py"]
FOLDERS = ["utils", "_ext", "tests", "benchmarks"]
CODE += [path for folder in FOLDERS for path in ROOT.glob(f"{folder}/**/*.py")]
CUDA = ("cuda-", "nvidia-", "triton")  # PyTorch asks for these where it is built for CUDA


def pins(file):
    """Return {name: requirement} of a file of pip's, as far as it holds here and without CUDA."""
    lines = [line.split("#")[0].strip() for line in (ROOT / file).read_text("utf-8").splitlines()]
    found = [Requirement(line) for line in lines if line and not line.startswith("-e")]
    found = [r for r in found if not r.marker or r.marker.evaluate()]
    return {canonical(r.name): r for r in found if not r.name.startswith(CUDA)}


DIRECT, ALONE = pins("requirements.txt"), pins("requirements-nodeps.txt")
PINNED = pins("constraints.txt")


def used():
    """Return the top-level modules that the code imports or _config.yml names, but for our own."""
    sources = [path.read_text("utf-8") for path in CODE]
    for path in ROOT.glob("chapters/*.ipynb"):
        cells = nbformat.read(path, as_version=4).cells
        sources.append("\n".join(cell.source for cell in cells if cell.cell_type == "code"))
    config = yaml.safe_load((ROOT / "_config.yml").read_text("utf-8"))["sphinx"]["config"]
    modules = {config.get("html_theme", "sphinx_book_theme"), *config["extensions"]}
    for node in (node for source in sources for node in ast.walk(ast.parse(source))):
        if isinstance(node, ast.Import):
            modules |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            modules.add(node.module)
    shared = "sphinxcontrib."  # a folder that several packages put their modules into
    modules = {name.replace(".", "-", name.startswith(shared)).split(".")[0] for name in modules}
    return modules - sys.stdlib_module_names - {"utils", *(path.stem for path in CODE)}


def test_everything_that_the_code_uses_is_required():
    providers = packages_distributions()
    packages = {name: {*map(canonical, providers.get(name, [name]))} for name in used()}
    assert {name for name, found in packages.items() if not found & {*DIRECT, *ALONE}} == set()
    assert all(str(r.specifier).startswith("==") for r in DIRECT.values())


def test_constraints_pin_what_is_needed_and_nothing_else():
    asked = [Requirement(text) for name in PINNED for text in distribution(name).requires or []]
    met = {canonical(r.name) for r in asked if not r.marker or r.marker.evaluate({"extra": ""})}
    needed = {name for name in {*DIRECT, *met} if not name.startswith(CUDA)}
    assert needed == {*PINNED}, "make lock writes constraints.txt anew"


def test_what_is_installed_is_what_is_pinned():
    assert all(PINNED[name].specifier == r.specifier for name, r in DIRECT.items())
    for name, pin in [*PINNED.items(), *ALONE.items()]:
        version = distribution(name).version
        assert version in pin.specifier, f"{name} {version}: make book brings it up to date"


def test_workflows_pin_their_actions_run_our_commands_and_write_only_where_they_publish():
    pin, pins, writes = re.compile(r"actions/[\w-]+@[0-9a-f]{40}  # v\d+\.\d+\.\d+"), set(), {}
    for path in ROOT.glob(".github/workflows/*.yml"):
        text = path.read_text("utf-8")
        flow, found = yaml.safe_load(text), re.findall(r"uses: (.*)", text)
        assert found and all(map(pin.fullmatch, found)) and flow["concurrency"]
        assert flow["permissions"] == {"contents": "read"}
        assert {*" ".join(re.findall(r"make (.*)", text)).split()} <= {*course.COMMANDS}
        pins |= {*found}
        for name, job in flow["jobs"].items():
            assert job["timeout-minutes"] <= 90, name
            writes[name] = {of for of, may in job.get("permissions", {}).items() if may == "write"}
    assert len(pins) == len({action.partition("@")[0] for action in pins}), "two pins of one action"
    publishing = {"notebooks": {"contents"}, "site": {"pages", "id-token"}}
    assert {name: may for name, may in writes.items() if may} == publishing
