"""What the project uses is pinned: directly in requirements.txt, the rest in constraints.txt."""

import ast
import sys
from importlib.metadata import distribution, packages_distributions
from pathlib import Path

import nbformat
import yaml
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name as canonical
from packaging.version import Version

ROOT = Path(__file__).parents[1]
FOLDERS = ["utils", "_ext", "tests", "benchmarks"]
CUDA = ("cuda-", "nvidia-", "triton")  # PyTorch asks for these where it is built for CUDA


def requirements(name):
    """Return the requirements in a file of pip's, but for this repository's own package."""
    lines = (line.split("#")[0].strip() for line in (ROOT / name).read_text().splitlines())
    return [Requirement(line) for line in lines if line and not line.startswith("-e")]


DIRECT = {canonical(r.name): r for r in requirements("requirements.txt")}
WITHOUT_DEPENDENCIES = {canonical(r.name): r for r in requirements("requirements-nodeps.txt")}
LOCKED = {
    canonical(r.name): r
    for r in requirements("constraints.txt")
    if r.marker is None or r.marker.evaluate()
}


def sources():
    """Yield the code of every module and of every chapter's cells."""
    for folder in FOLDERS:
        yield from (path.read_text("utf-8") for path in (ROOT / folder).rglob("*.py"))
    yield (ROOT / "conftest.py").read_text("utf-8")
    for path in (ROOT / "chapters").glob("*.ipynb"):
        cells = nbformat.read(path, as_version=4).cells
        yield "\n".join(cell.source for cell in cells if cell.cell_type == "code")


def used():
    """Return the top-level modules that the code imports or _config.yml names, but for our own."""
    modules = set()
    for node in (node for source in sources() for node in ast.walk(ast.parse(source))):
        if isinstance(node, ast.Import):
            modules |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            modules.add(node.module)
    config = yaml.safe_load((ROOT / "_config.yml").read_text("utf-8"))["sphinx"]["config"]
    modules |= {config.get("html_theme", "sphinx_book_theme"), *config["extensions"]}
    own = {"utils", *(path.stem for name in FOLDERS for path in (ROOT / name).glob("*.py"))}
    shared = "sphinxcontrib."  # a folder that several packages put their modules into
    modules = {name.replace(".", "-", name.startswith(shared)).split(".")[0] for name in modules}
    return modules - sys.stdlib_module_names - own


def needed():
    """Return the names of all that the direct dependencies depend on, here and now."""
    waiting, seen = list(DIRECT.values()), set()
    while waiting:
        requirement = waiting.pop()
        name = canonical(requirement.name)
        extras = {"", *requirement.extras}
        if (name, *extras) not in seen:
            seen.add((name, *extras))
            for child in map(Requirement, distribution(name).requires or []):
                if child.marker is None or any(child.marker.evaluate({"extra": e}) for e in extras):
                    waiting.append(child)
    return {name for name, *_ in seen}


def test_everything_that_the_code_uses_is_required():
    required, providers = {*DIRECT, *WITHOUT_DEPENDENCIES}, packages_distributions()
    packages = {name: {*map(canonical, providers.get(name, [name]))} for name in used()}
    assert {name: found for name, found in packages.items() if not found & required} == {}
    assert all(str(r.specifier).startswith("==") for r in DIRECT.values())


def test_constraints_pin_what_is_needed_and_nothing_else():
    names = needed()
    assert not names - set(LOCKED), "make lock writes constraints.txt anew"
    assert not {name for name in set(LOCKED) - names if not name.startswith(CUDA)}, "as above"


def test_what_is_installed_is_what_is_pinned():
    pins = {name: LOCKED[name] for name in needed()} | WITHOUT_DEPENDENCIES
    installed = {name: Version(distribution(name).version) for name in pins}
    wrong = {
        name: f"{version} is installed, {pins[name]} is pinned: make book brings it up to date"
        for name, version in installed.items()
        if version not in pins[name].specifier
    }
    assert not wrong
    assert all(LOCKED[name].specifier == r.specifier for name, r in DIRECT.items())
