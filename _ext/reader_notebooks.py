"""Sphinx extension: copies of the chapters that run without this project, in _build/notebooks.

Colab, Kaggle and editors know Markdown and not MyST. A copy keeps the outputs that the page shows,
begins with a cell that fetches what the chapter needs, and has references as the site shows them.
"""

import re
import shutil
from functools import cache
from pathlib import Path
from urllib.parse import urljoin

import nbformat
from docutils import nodes
from repository import address, commit, launch
from sphinx.addnodes import pending_xref
from sphinx.errors import ExtensionError
from sphinx.util.docutils import SphinxDirective

SET_UP = """\
# Fetches the course's helpers, where they are missing, into a folder beside; changes nothing else.
import contextlib, os, shutil, subprocess, sys, tempfile, urllib.request
from importlib.util import find_spec
from pathlib import Path
ADDRESS, COMMIT = "{address}", "{commit}"
NEEDS = "{needs}".split()
found, folder = find_spec("utils"), Path(f"course-{{COMMIT:.9}}")
if not (found and Path(str(found.origin)).with_name("datasets.toml").exists()):
    found and print("Not the course's utils:", found.origin or [*found.submodule_search_locations])
    [sys.modules.pop(name) for name in [*sys.modules] if name.split(".")[0] == "utils"]
    if not folder.exists():
        with tempfile.TemporaryDirectory(dir=".") as new:  # whole before another notebook sees it
            if shutil.which("git"):
                for words in "init -q all", f"-C all pull -q --depth=1 {{ADDRESS}} {{COMMIT}}":
                    subprocess.run(["git", *words.split()], cwd=new, check=True)
            else:
                archive, _ = urllib.request.urlretrieve(f"{{ADDRESS}}/archive/{{COMMIT}}.zip")
                shutil.unpack_archive(archive, f"{{new}}/all", "zip")
            with contextlib.suppress(OSError):  # another notebook was faster
                Path(new, "all").rename(folder)
    home = next(folder.resolve(strict=True).rglob("utils/datasets.toml")).parents[1]
    if absent := [n for n in NEEDS if not (find_spec(m := n.split("=")[0]) or (home / m).exists())]:
        pip = [sys.executable, "-m", "pip", "install", "-q", "--no-deps", "--target", home]
        subprocess.run(pip + absent, env={{**os.environ, "TMPDIR": str(home)}}, check=True)
    sys.path.insert(0, str(home))"""
# What utils imports that Colab has, and other places may not, with what it needs in turn
NEEDS = "certifi charset_normalizer idna packaging platformdirs pooch requests tqdm urllib3"
GLUE = """


def glue(name, value, display=True):  # on the site, it keeps a value for the text
    print(f"{name}: {value}")"""
BADGES = {
    "Colab": "https://colab.research.google.com/assets/colab-badge.svg",
    "Kaggle": "https://kaggle.com/static/images/open-in-kaggle.svg",
}
DOMAINS = {"numref": "std", "ref": "std", "term": "std", "eq": "math", "cite": "cite"}
ROLE = re.compile(r"\{(\w+):?(\w*)\}`(?:([^`<]+) <)?([^`<>]+)>?`")
DIRECTIVE = re.compile(r"^(:::|```)\{([\w-]+)\} ?(.*)\n((?::\w+:.*\n)*)((?s:.*?))^\1$", re.M)
FOLDED = "<details>\n<summary>{}</summary>\n\n"
MARKS = {nodes.emphasis: "*", nodes.strong: "**", nodes.literal: "`"}


def set_up_cell(needs=NEEDS):
    """Return the code of the first cell."""
    known = {"address": address() or "ADDRESS-OF-THE-REPOSITORY", "commit": commit() or "COMMIT"}
    return SET_UP.format(**known, needs=needs)


class Reader:
    """What the site shows for the MyST of one chapter."""

    def __init__(self, app, name, notebook):
        self.app, self.name, self.solution = app, name, None
        self.page = app.config.html_baseurl + name + ".html"
        records = [o for c in notebook.cells for o in c.get("outputs", []) if "data" in o]
        self.glued = {
            o.metadata.scrapbook.name: o.data["application/papermill.record/text/plain"]
            for o in records
            if "scrapbook" in o.metadata
        }

    def markdown(self, node):
        """Return a node of a page as Markdown."""
        if isinstance(node, nodes.Text):
            return node.astext()
        inner, mark = "".join(map(self.markdown, node.children)), MARKS.get(type(node), "")
        if isinstance(node, nodes.reference):
            return self.link(inner, node.get("refuri") or f"#{node['refid']}")
        return f"{mark}{inner}{mark}"

    def link(self, text, uri):
        """Return a link to a page of the site; the text alone where nobody knows where that is."""
        whole = urljoin(self.page, uri)
        return f"[{text}]({whole})" if "://" in whole else text

    def refer(self, role, target, kind="", text=None):
        """Return the node that the site shows for a role of Sphinx."""
        options = {"refdoc": self.name, "refexplicit": bool(text), "reftype": kind or role}
        shown, env = nodes.inline("", text or target), self.app.env
        node = pending_xref("", shown, refdomain=DOMAINS[role], reftarget=target, **options)
        found = env.get_domain(DOMAINS[role]).resolve_xref(
            env, self.name, self.app.builder, kind or role, target, node, shown
        )
        if not found:
            raise ExtensionError(f"{self.name}: nothing is called {target}")
        return found

    def role(self, match):
        """Return the text that stands for a role."""
        role, kind, text, target = match.groups()
        if role == "glue":
            key, _, form = target.partition("::")[2].partition(":")
            return format(float(self.glued[key]), form)
        if role not in DOMAINS:
            raise ExtensionError(f"{self.name}: _ext/reader_notebooks.py knows no {{{role}}}")
        return self.markdown(self.refer(role, target, kind, text))

    def number(self, label):
        """Return an equation's number."""
        return self.refer("eq", label).astext().strip("()")

    def directive(self, match):
        """Return the Markdown that stands for a directive."""
        _, kind, title, options, body = match.groups()
        if kind == "exercise-start":
            number = self.refer("numref", re.search(r":label: (\S+)", options)[1]).astext()
            return f"### {number} ({title})\n"
        if kind == "solution-start":
            self.solution = f"Solution to {self.refer('numref', title).astext()}"
            return FOLDED.format(self.solution)
        if kind == "solution-end":
            self.solution = None
            return "\n</details>\n"
        if kind == "admonition":
            lines = [f"**{title}**", "", *body.strip().splitlines()]
            return "\n".join(f"> {line}".rstrip() for line in lines)
        if kind == "bibliography":
            return self.works()
        if kind == "exercise-end":
            return ""
        if kind == "live":
            link = self.link("this chapter's page", "")
            return f"{body.strip()}\n\n*In a browser, {link} has a panel to try this in.*"
        raise ExtensionError(f"{self.name}: _ext/reader_notebooks.py knows no {{{kind}}}")

    def works(self):
        """Return the list of the works that the chapter cites."""
        domain = self.app.env.get_domain("cite")
        cited = [c for c in domain.citations if c.bibliography_key.docname == self.name]
        works = [c.formatted_entry.text.render(domain.backend) for c in cited]
        return "\n".join(f"- {''.join(map(self.markdown, work))}" for work in works)

    def text(self, source):
        """Return a text cell as plain Markdown; what belongs to a solution is folded."""
        begin = FOLDED.format(f"{self.solution}, continued") if self.solution else ""
        source = DIRECTIVE.sub(self.directive, source)
        source = re.sub(r"^\([\w-]+\)=\n", "", source, flags=re.M)
        source = re.sub(
            r"(\n?)\$\$ \(([\w-]+)\)",
            lambda m: rf"{m[1]}\tag{{{self.number(m[2])}}}{m[1]}$$",
            source,
        )
        source = ROLE.sub(self.role, source)
        source = re.sub(
            r"\[([^]]+)\]\((\.\./pages/\w+)\.md\)",
            lambda m: self.link(m[1], f"{m[2]}.html"),
            source,
        )
        if self.app.config.html_baseurl:
            source = re.sub(
                r"\]\(([\w/]+)\.ipynb\)", lambda m: f"]({urljoin(self.page, m[1])}.html)", source
            )
        return begin + source.strip() + ("\n\n</details>" if self.solution else "")

    def cells(self, cell):
        """Return the cells that stand for a chapter's cell: a figure has its caption below it."""
        if cell.cell_type == "markdown":
            return [nbformat.v4.new_markdown_cell(self.text(cell.source), id=cell.id)]
        figure, copy = cell.metadata.get("mystnb", {}).get("figure"), nbformat.from_dict(cell)
        copy.metadata = {}
        if "from myst_nb import glue\n" in copy.source:
            copy.source = copy.source.replace("from myst_nb import glue\n", "") + GLUE
        if self.solution:
            fold(copy, self.solution, outputs=True)
        elif "hide-input" in cell.metadata.get("tags", []):
            fold(copy, "Show the code", outputs=False)
        if not figure:
            return [copy]
        caption = self.text(f"**{{numref}}`{figure['name']}`** {figure['caption']}")
        return [copy, nbformat.v4.new_markdown_cell(caption, id=f"{cell.id}-caption")]


def fold(cell, title, *, outputs):
    """Hide a cell's code, and its outputs: as JupyterLab does it, then Colab, then Kaggle."""
    cell.source = f"#@title {title}\n{cell.source}"
    cell.metadata = {
        "jupyter": {"source_hidden": True, "outputs_hidden": outputs},
        **{"cellView": "form", "collapsed": outputs},
        **{"_kg_hide-input": True, "_kg_hide-output": outputs},
    }


def copy_of(app, name, notebook):
    """Return the copy of a chapter."""
    reader, code = Reader(app, name, notebook), "\n".join(c.source for c in notebook.cells)
    needs = NEEDS
    if re.search(r"^from utils import .*\bd2l\b", code, re.M):
        needs += " " + Path(app.srcdir, "requirements-nodeps.txt").read_text().split()[-1]
    first = nbformat.v4.new_code_cell(set_up_cell(needs), id="set-up")
    cells = [first, *(new for cell in notebook.cells for new in reader.cells(cell))]
    known = {"kernelspec", "language_info"} & notebook.metadata.keys()
    metadata = {key: notebook.metadata[key] for key in sorted(known)}
    return nbformat.v4.new_notebook(cells=cells, metadata=metadata)


def readme(text, url, commit):
    """Return the README for the copies' branch: with badges, and links that lead out of it."""
    if url:
        text = re.sub(r"\]\((?!\w+:|chapters/)", f"]({url}/blob/{commit}/", text)
        text = re.sub(r'(src|srcset)="(?!\w+:)', rf'\1="{url}/raw/{commit}/', text)
    for path in re.findall(r"(?<=^- \[).+\]\((.+)\.ipynb\): ", text, re.M):
        badges = [f"[![Open in {of}]({BADGES[of]})]({to})" for of, to in launch(url, path).items()]
        text = text.replace(f"({path}.ipynb): ", f"({path}.ipynb) {' '.join(badges)}: ")
    return text


def write(app, exception):
    """Write the copies beside the site, and put them behind the download buttons of the pages."""
    folder = Path(app.outdir).parent / "notebooks"
    if exception or not app.chapters:
        return
    shutil.rmtree(folder, ignore_errors=True)
    (folder / "chapters").mkdir(parents=True)
    app.env.get_doctree = cache(app.env.get_doctree)  # or each reference would read a page anew
    for name, chapter in app.chapters.items():
        nbformat.write(copy_of(app, name, chapter.shown()), folder / f"{name}.ipynb")
        shutil.copy(folder / f"{name}.ipynb", Path(app.outdir, "_sources", f"{name}.ipynb"))
    if (source := Path(app.srcdir, "README.md")).exists():
        text = readme(source.read_text("utf8"), address(), commit())
        (folder / "README.md").write_text(text, "utf8")


class SetUpCell(SphinxDirective):
    """`{set-up-cell}`: the first cell of the copies."""

    def run(self):
        """Return the cell."""
        return [nodes.literal_block(text := set_up_cell(), text, language="python")]


def outdated(app, env, added, changed, removed):
    """Return the page that shows the first cell where the cell has changed."""
    before, env.set_up_cell = getattr(env, "set_up_cell", None), set_up_cell()
    return ["pages/running"] if before not in (None, env.set_up_cell) else []


def setup(app):
    app.add_directive("set-up-cell", SetUpCell)
    app.connect("env-get-outdated", outdated)
    app.connect("build-finished", write)
    return {"version": "1", "parallel_read_safe": True, "parallel_write_safe": True}
