"""The chapter contract and the borders between the modules, read off the files themselves."""

import ast
import itertools
import re
import symtable
from collections import defaultdict
from functools import cache

import pytest
import yaml
from compare import belongs, code_cells
from notebooks import CHAPTERS, ROOT, read

UTILS = {path.stem: path for path in (ROOT / "utils").glob("*.py")}
IMPORT_ONLY_RUNTIME = {"datasets", "text", "batching", "ngrams", "models", "plotting", "runtime"}
FOR_ALL = {"runtime", "checks"}  # what every module of utils may import
# Modules whose public definitions are each written out in the chapter that teaches them.
TAUGHT = ["text", "batching", "ngrams", "models", "training", "sampling"]
GUARD = "check_"  # guards against bad input stand in utils.checks and are called in utils alone
PRIVATE_PATHS = re.compile(r"/(home|root|tmp|work|Users)/")


@pytest.fixture(params=CHAPTERS, ids=lambda path: path.stem)
def chapter(request):
    return read(request.param)


def tags(cell):
    return cell.metadata.get("tags", [])


def calls(cell, name):
    nodes = [node for node in ast.walk(ast.parse(cell.source)) if isinstance(node, ast.Call)]
    return any(getattr(node.func, "id", None) == name for node in nodes)


def test_chapters_and_pages_are_numbered_and_listed_in_the_toc():
    assert [path.stem[:2] for path in CHAPTERS] == [f"{i + 1:02}" for i in range(len(CHAPTERS))]
    toc = yaml.safe_load((ROOT / "_toc.yml").read_text(encoding="utf8"))
    listed = {c["file"] for part in toc["parts"] for c in part["chapters"]} | {toc["root"]}
    files = [*CHAPTERS, *(ROOT / "pages").glob("*.md"), ROOT / "index.md"]
    assert listed == {path.relative_to(ROOT).with_suffix("").as_posix() for path in files}


def test_first_a_title_then_imports_which_stand_nowhere_else(chapter):
    title = chapter.cells[0]
    assert title.cell_type == "markdown" and title.source.startswith("# ")
    assert len(re.findall(r"^# ", title.source, re.M)) == 1
    first, *others = [ast.parse(cell.source) for cell in code_cells(chapter)]
    assert first.body and all(isinstance(n, ast.Import | ast.ImportFrom) for n in first.body)
    for tree in others:
        assert not [node for node in ast.walk(tree) if isinstance(node, ast.Import)]


def test_cells_hold_one_idea_between_prose(chapter):
    for cell in code_cells(chapter):
        has_class = any(isinstance(node, ast.ClassDef) for node in ast.parse(cell.source).body)
        lines = [line for line in cell.source.splitlines() if line.strip()]
        lines = [line for line in lines if not line.startswith(("import ", "from "))]
        assert len(lines) <= (25 if has_class else 15), cell.source
    for one, two in itertools.pairwise(chapter.cells):
        assert not one.cell_type == two.cell_type == "code", two.source
    assert all(cell.source.strip() for cell in chapter.cells)


def test_executed_from_top_to_bottom_without_errors_and_private_paths(chapter):
    cells = code_cells(chapter)
    assert [cell.execution_count for cell in cells] == list(range(1, len(cells) + 1))
    outputs = [output for cell in cells for output in cell.outputs]
    assert not [output for output in outputs if output.output_type == "error"]
    assert not [output for output in outputs if output.get("name") == "stderr"]
    assert not PRIVATE_PATHS.search(str(outputs))


def test_images_have_alt_text_caption_and_name(chapter):
    for cell in code_cells(chapter):
        if not any("image/png" in output.get("data", {}) for output in cell.outputs):
            continue
        mystnb = cell.metadata["mystnb"]
        assert len(mystnb["image"]["alt"].split()) >= 5
        assert mystnb["figure"]["caption"] and mystnb["figure"]["name"].startswith("fig-")
    for cell in chapter.cells:
        assert cell.cell_type == "code" or not re.search(r"!\[\s*\]\(", cell.source)


def names(source):
    """Return the names that a cell binds, and those that it reads and does not bind."""
    cell = symtable.symtable(source, "cell", "exec")
    scopes = [cell]
    for scope in scopes:
        scopes += scope.get_children()
    bound = {s.get_name() for s in cell.get_symbols() if s.is_assigned() or s.is_imported()}
    read = {s.get_name() for scope in scopes for s in scope.get_symbols() if s.is_global()}
    return bound, read - bound


def only_draws(notebook):
    """Return the cells whose only output is a figure, and that bind nothing for a later cell."""
    found, read_later = [], set()
    for cell in reversed(code_cells(notebook)):
        bound, read = names(cell.source)
        figures = ["image/png" in output.get("data", {}) for output in cell.outputs]
        if figures and all(figures) and not bound & read_later:
            found.append(cell)
        read_later = (read_later - bound) | read
    return found


def test_the_code_of_cells_that_only_draw_waits_for_a_click(chapter):
    hidden = [cell.id for cell in code_cells(chapter) if "hide-input" in tags(cell)]
    assert sorted(hidden) == sorted(cell.id for cell in only_draws(chapter))


def test_what_is_not_compared_is_claimed(chapter):
    cells = code_cells(chapter)
    for cell, following in itertools.pairwise(cells):
        if "nbval-ignore-output" in tags(cell):
            assert calls(cell, "claim") or calls(following, "claim"), cell.source
        assert not {"nbval-skip", "skip-execution", "raises-exception"} & set(tags(cell))


def test_text_speaks_of_the_record_and_claims_are_sentences(chapter):
    for cell in chapter.cells:
        assert not re.search(r"\b(full|quick)[ -]profile|\bprofile\b", cell.source), cell.source
    printed = "".join(o.get("text", "") for c in code_cells(chapter) for o in c.outputs)
    assert "✓ " in printed and not re.search(r"^✓ .*: (True|False) =", printed, re.M)


def test_ends_with_the_provenance_of_a_full_run_on_the_real_data(chapter):
    last = code_cells(chapter)[-1]
    assert calls(last, "provenance")
    assert "nbval-ignore-output" in tags(last)
    printed = "".join(output.get("text", "") for output in last.outputs)
    assert re.search(r"^profile +full$", printed, re.M), printed
    assert "sample" not in printed


def test_outputs_are_those_recorded_of_the_code_that_stands_there(request, chapter):
    name = f"chapters/{request.node.callspec.id}.ipynb"
    assert belongs(chapter), f"make record NOTEBOOKS={name}"


def test_hyperparameters_are_frozen_and_commented(chapter):
    for cell in code_cells(chapter):
        for node in ast.parse(cell.source).body:
            if isinstance(node, ast.ClassDef) and node.name.endswith("Config"):
                assert "@dataclass(frozen=True)" in cell.source
                fields = [n.lineno for n in node.body if isinstance(n, ast.AnnAssign)]
                assert fields and all("# " in cell.source.splitlines()[i - 1] for i in fields)


def test_three_exercises_each_with_an_executed_solution(chapter):
    source = "\n".join(c.source for c in chapter.cells if c.cell_type == "markdown")
    labels = re.findall(r"{exercise-start}[^\n]*\n:label: (\S+)", source)
    solved = re.findall(r"{solution-start} (\S+)\n:class: dropdown", source)
    assert len(labels) >= 3 and labels == solved
    starts = [i for i, c in enumerate(chapter.cells) if "{solution-start}" in c.source]
    for start in starts:
        after = chapter.cells[start + 1 :]
        inside = itertools.takewhile(lambda c: "{solution-end}" not in c.source, after)
        assert "code" in {cell.cell_type for cell in inside}, chapter.cells[start].source


def imported(path):
    """Return the sibling modules of utils that a module imports, and the top-level packages."""
    siblings, packages = set(), set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf8"))):
        names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
        if isinstance(node, ast.ImportFrom):
            names = [node.module]
            if node.module == "utils":
                names = [f"utils.{alias.name}" for alias in node.names]
        siblings |= {name.split(".")[1] for name in names if name.startswith("utils.")}
        packages |= {name.split(".")[0] for name in names}
    return siblings, packages


@pytest.mark.parametrize("name", sorted(UTILS))
def test_imports_go_one_way(name):
    siblings, packages = imported(UTILS[name])
    assert "chapters" not in packages and "tests" not in packages
    if name in IMPORT_ONLY_RUNTIME:
        assert siblings <= FOR_ALL
    if name == "checks":
        assert not siblings
    assert not siblings & {"datasets", "models"}, "data and models come as arguments"


def test_utils_stays_thin():
    trees = [ast.parse(path.read_text(encoding="utf8")) for path in UTILS.values()]
    functions = [n for tree in trees for n in ast.walk(tree) if isinstance(n, ast.FunctionDef)]
    for node in functions:
        body = node.body[1:] if ast.get_docstring(node) else node.body
        length = node.end_lineno - body[0].lineno + 1 if body else 0
        assert length <= 20, f"{node.name} has {length} lines"


class Bare(ast.NodeTransformer):
    """Take the docstrings and the calls of guards off a tree."""

    def visit(self, node):
        if isinstance(node, ast.Expr) and ast.unparse(node).startswith(f"checks.{GUARD}"):
            return None
        self.generic_visit(node)
        if isinstance(node, ast.If) and not node.body:
            return None  # only a guard stood there
        if isinstance(node, ast.FunctionDef | ast.ClassDef) and ast.get_docstring(node):
            node.body = node.body[1:] or [ast.Pass()]
        return node


def definitions(source):
    """Return {name: syntax tree without docstrings and guards} of a source's definitions."""
    return {
        node.name: ast.dump(Bare().visit(node))
        for node in ast.parse(source).body
        if isinstance(node, ast.FunctionDef | ast.ClassDef)
    }


def taught():
    """Return (module, name) of every public definition that a chapter must write out."""
    return [
        (module, name)
        for module in TAUGHT
        for name in definitions(UTILS[module].read_text(encoding="utf8"))
        if not name.startswith("_")
    ]


@cache
def written():
    """Return {name: the bare trees of all definitions of that name in chapters}."""
    trees = defaultdict(list)
    for path in CHAPTERS:
        for cell in code_cells(read(path)):
            for name, tree in definitions(cell.source).items():
                trees[name].append(tree)
    return trees


@pytest.mark.parametrize(("module", "name"), taught())
def test_saved_definitions_equal_the_chapters(module, name):
    saved = definitions(UTILS[module].read_text(encoding="utf8"))[name]
    assert written()[name] == [saved]


def test_guards_stand_in_one_module_and_chapters_show_none(chapter):
    defined = definitions(UTILS["checks"].read_text(encoding="utf8"))
    assert all(name.startswith((GUARD, "_")) for name in defined)
    for path in UTILS.values():
        names = definitions(path.read_text(encoding="utf8"))
        assert path.stem == "checks" or not [name for name in names if name.startswith(GUARD)]
    for cell in code_cells(chapter):
        assert not re.search(rf"\b{GUARD}\w+\(|\bchecks\b", cell.source), cell.source
