"""The site's Sphinx extension: notebook cache, warnings that stay, MathJax, buttons, notes."""

import functools
import hashlib
import importlib.util
import os
import platform
import shutil
import sys
from concurrent.futures import ThreadPoolExecutor, as_completed
from pathlib import Path

import nbformat
from docutils import nodes
from jupyter_cache import get_cache
from jupyter_cache.base import CacheBundleIn
from jupyter_cache.executors.utils import single_nb_execution
from sphinx import addnodes
from sphinx.util import logging

logger = logging.getLogger(__name__)
WORKERS = min(4, os.cpu_count() or 1)
MATHJAX = [  # 3 MB of 24: TeX in, HTML out, and the explorer that screen readers use
    "tex-mml-chtml.js",
    "input/tex/extensions",
    "output/chtml/fonts/woff-v2",
    "a11y",
    "sre/mathmaps/base.json",
    "sre/mathmaps/en.json",
]
COLAB = """```python
!git clone --depth 1 {} course
%cd course
%pip install -q pooch myst-nb
%pip install -q --no-deps -r requirements-nodeps.txt
```"""
NO_COLAB = "This copy of the site was built without the address of its repository."


# --- The cache of executed notebooks ---


def digest(*parts):
    """Return twelve hex digits that stand for the given strings and bytes."""
    h = hashlib.sha256()
    for part in parts:
        h.update(part if isinstance(part, bytes) else part.encode())
        h.update(b"\0")
    return h.hexdigest()[:12]


def code_key(root):
    """Return a key of what outputs depend on besides the notebook: helpers, versions, profile."""
    from utils.runtime import device, profile

    files = [*root.glob("requirements*.txt"), *(root / "utils").rglob("*")]
    files = sorted(f for f in files if f.is_file() and "__pycache__" not in f.parts)
    contents = [part for f in files for part in (f.relative_to(root).as_posix(), f.read_bytes())]
    require = os.environ.get("COURSE_REQUIRE_DATA", "")
    return digest(*contents, platform.python_version(), device().type, profile(), require)


def data_paths():
    """Return {data set: where its verified file lies, or None}."""
    from utils import datasets

    return {name: datasets.locate(name) for name in datasets.DATA_SETS}


def cache_folder(app, paths):
    """Return the folder for notebooks executed with this code and these data sets."""
    data_key = digest(*(f"{name} {path}" for name, path in paths.items()))
    key = f"{code_key(Path(app.srcdir))}-{data_key}"
    return Path(app.outdir).parent / ".jupyter_cache" / key


def set_cache(app, config):
    """Key the cache; give the kernels this tree's utils, and threads that they need not share."""
    sys.path.insert(0, str(app.srcdir))
    before = os.environ.get("PYTHONPATH")
    os.environ["PYTHONPATH"] = os.pathsep.join(filter(None, [str(app.srcdir), before]))
    threads = max(1, (os.cpu_count() or 1) // WORKERS)
    os.environ.setdefault("OMP_NUM_THREADS", str(threads))
    app.data_paths = data_paths()
    config.nb_execution_cache_path = str(cache_folder(app, app.data_paths))


def execute_ahead(app, env, docnames):
    """Execute the notebooks that the cache lacks, several at a time; then myst-nb finds them.

    One that fails is left to myst-nb, which runs it again and shows the traceback.
    """
    cache = get_cache(env.mystnb_config.execution_cache_path)
    paths = [Path(env.doc2path(docname)) for docname in sorted(docnames)]
    notebooks = {p: nbformat.read(p, 4) for p in paths if p.suffix == ".ipynb"}
    missing = {p: nb for p, nb in notebooks.items() if not in_cache(cache, nb)}
    run = functools.partial(
        single_nb_execution,
        timeout=env.mystnb_config.execution_timeout,
        allow_errors=False,
        extra_arguments=["--log-level=ERROR"],  # no word on how the kernel's messages travel
    )
    with ThreadPoolExecutor(WORKERS) as pool:
        futures = {
            pool.submit(run, nb, cwd=p.parent): p for p, nb in missing.items()
        }
        try:
            for future in as_completed(futures):
                keep(cache, futures[future], future.result())
        except BaseException:
            pool.shutdown(cancel_futures=True)
            raise


def in_cache(cache, notebook):
    """Return whether the cache holds outputs for this notebook's code."""
    try:
        cache.match_cache_notebook(notebook)
    except KeyError:
        return False
    return True


def keep(cache, path, result):
    """Put an executed notebook into the cache, or warn that it failed."""
    if result.err is not None:
        logger.warning("%s failed after %.0f s", path.name, result.time)
        return
    logger.info("%s executed in %.0f s", path.name, result.time)
    bundle = CacheBundleIn(result.nb, str(path), data={"execution_seconds": result.time})
    cache.cache_notebook_bundle(bundle, check_validity=False, overwrite=True)


def follow_downloads(app, exception):
    """Rename the cache when all that changed during the build is that data was downloaded.

    Otherwise the next build, which finds the data, would execute every notebook again. Where a
    sample stood in somewhere, it has to.
    """
    if exception:
        return
    old, paths = Path(app.config.nb_execution_cache_path), data_paths()
    new = cache_folder(app, paths)
    same_code = new.name.split("-")[0] == old.name.split("-")[0]
    only_added = all(path in (None, paths[name]) for name, path in app.data_paths.items())
    if same_code and only_added and old.exists() and not new.exists():
        if not any("SampleWarning" in nb.read_text("utf-8") for nb in old.rglob("*.ipynb")):
            old.rename(new)


# --- Warnings that stay ---


def forget_after_warnings(app, exception):
    """After a failed build make the next one read every page, so that it warns again.

    Sphinx reads only pages that changed, and so would pass on its second try.
    """
    if exception or app._warncount:
        (Path(app.doctreedir) / "environment.pickle").unlink(missing_ok=True)


# --- Pages ---


def set_repository(app, config):
    """Show launch buttons where COURSE_REPO_URL says what they would launch."""
    url = os.environ.get("COURSE_REPO_URL", "").rstrip("/")
    options = dict(config.html_theme_options)
    options["launch_buttons"] = {}
    if url:
        options["repository_url"] = url
        options["repository_branch"] = os.environ.get("COURSE_REPO_BRANCH", "main")
        options["path_to_docs"] = os.environ.get("COURSE_REPO_PATH", "")
        options["launch_buttons"] = {"colab_url": "https://colab.research.google.com"}
        options["use_repository_button"] = options["use_issues_button"] = True
    config.html_theme_options = options
    colab = COLAB.format(url) if url else NO_COLAB
    config.myst_substitutions = {**config.myst_substitutions, "colab": colab}


def note_samples(app, doctree):
    """Say at the top of a page that an embedded sample stands in for a data set on it."""
    outputs = (n for n in doctree.findall(nodes.container) if n.get("nb_element") == "cell_code_output")
    if not any("SampleWarning" in output.astext() for output in outputs):
        return
    text = (
        "This page was made without the real data: a short text written for this course stood in. "
        "The code is the same; the numbers and the sampled text are not those of the real data. "
    )
    paragraph = nodes.paragraph("", text)
    if "pages/running" in app.env.found_docs:
        link = addnodes.pending_xref(
            "",
            nodes.inline("", "How to get the data"),
            refdomain="std",
            reftype="doc",
            reftarget="/pages/running",
            refexplicit=True,
            refwarn=True,
            refdoc=app.env.docname,
        )
        paragraph += [link, nodes.Text(".")]
    title = nodes.title("", "Made with an embedded sample")
    note = nodes.admonition("", title, paragraph, classes=["warning", "sample-note"])
    heading = next(doctree.findall(nodes.title))
    heading.parent.insert(heading.parent.index(heading) + 1, note)


def plain_docstring(app, what, name, obj, options, lines):
    """Keep reStructuredText from reading markup into docstrings, which are plain prose.

    Only `code` in backticks is markup; * | _ and backslashes are themselves.
    """
    for i, line in enumerate(lines):
        prose = line.strip().split("`")
        for j in range(0, len(prose), 2):
            prose[j] = "".join("\\" + c if c in "\\*|_" else c for c in prose[j])
        lines[i] = "``".join(prose)


def copy_mathjax(app, exception):
    """Put MathJax beside the pages, so that formulas need no other host."""
    if exception or app.builder.format != "html":
        return
    package = Path(importlib.util.find_spec("sphinx-mathjax-offline").origin).parent
    for name in MATHJAX:
        source, target = package / "static/mathjax" / name, Path(app.outdir) / "_static/mathjax" / name
        target.parent.mkdir(parents=True, exist_ok=True)
        if source.is_dir():
            shutil.copytree(source, target, dirs_exist_ok=True)
        else:
            shutil.copyfile(source, target)


def setup(app):
    """Connect the functions above to Sphinx's events."""
    app.connect("config-inited", set_cache)
    app.connect("config-inited", set_repository)
    app.connect("env-before-read-docs", execute_ahead)
    app.connect("doctree-read", note_samples)
    app.connect("autodoc-process-docstring", plain_docstring)
    app.connect("build-finished", copy_mathjax)
    app.connect("build-finished", follow_downloads)
    app.connect("build-finished", forget_after_warnings)
    return {"version": "1", "parallel_read_safe": True, "parallel_write_safe": True}
