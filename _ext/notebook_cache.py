"""Sphinx extension: executes the notebooks once, keeps what they gave, and lets no failure pass."""

import hashlib
import os
import platform
import shutil
import sys
import time
import traceback
from concurrent.futures import ThreadPoolExecutor, as_completed
from pathlib import Path

import nbformat
from jupyter_cache import get_cache
from jupyter_cache.base import CacheBundleIn
from jupyter_cache.executors.utils import ExecutionResult, single_nb_execution
from myst_nb.core.execute import cache as myst_nb_cache
from nbclient.exceptions import DeadKernelError

CORES = os.cpu_count() or 1
WORKERS = min(4, CORES)
failed = {}  # the code of each notebook that failed in this build, and what came of it


def digest(*parts):
    """Return twelve hex digits that stand for the given strings and bytes."""
    h = hashlib.sha256()
    for part in parts:
        h.update(part if isinstance(part, bytes) else part.encode())
        h.update(b"\0")
    return h.hexdigest()[:12]


def code_key(root):
    """Return a key of what outputs depend on besides the notebook: helpers, versions, settings."""
    from utils.runtime import device, profile

    files = [*root.glob("requirements*.txt"), *(root / "utils").rglob("*")]
    files = sorted(f for f in files if f.is_file() and "__pycache__" not in f.parts)
    contents = [part for f in files for part in (f.relative_to(root).as_posix(), f.read_bytes())]
    require = os.environ.get("COURSE_REQUIRE_DATA", "")
    return digest(*contents, platform.python_version(), device().type, profile(), require)


def data_paths():
    """Return {data set: where its verified file lies, or None}."""
    from utils import datasets

    return {name: datasets.locate(name) for name in datasets.REGISTRY}


def cache_folder(app, paths):
    """Return the folder for notebooks executed with this code and these data sets."""
    data_key = digest(*(f"{name} {path}" for name, path in paths.items()))
    key = f"{code_key(Path(app.srcdir))}-{data_key}"
    return Path(app.outdir).parent / ".jupyter_cache" / key


def set_cache(app, config):
    """Key the cache, which myst-nb would look up by the notebook's code alone.

    Sphinx reads every page again when this setting has changed. Kernels get the utils of this
    tree, and as many threads each as they need not share.
    """
    sys.path.insert(0, str(app.srcdir))
    before = os.environ.get("PYTHONPATH")
    os.environ["PYTHONPATH"] = os.pathsep.join(filter(None, [str(app.srcdir), before]))
    os.environ.setdefault("OMP_NUM_THREADS", str(CORES // WORKERS))
    app.data_paths = data_paths()
    config.nb_execution_cache_path = str(cache_folder(app, app.data_paths))


def execute_ahead(app, env, docnames):
    """Execute the notebooks that the cache lacks, several at a time; then myst-nb finds them.

    One that failed is handed to myst-nb as it is, to be reported and tried again by every build.
    """
    if env.mystnb_config.execution_mode != "cache":
        return
    cache = get_cache(env.mystnb_config.execution_cache_path)
    # The later chapters take longest, so they begin first.
    paths = [Path(env.doc2path(docname)) for docname in sorted(docnames, reverse=True)]
    notebooks = {p: nbformat.read(p, 4) for p in paths if p.suffix == ".ipynb"}
    missing = {p: nb for p, nb in notebooks.items() if not in_cache(cache, nb)}
    with ThreadPoolExecutor(WORKERS) as pool:
        limit = env.mystnb_config.execution_timeout
        futures = {pool.submit(execute, nb, p.parent, limit): p for p, nb in missing.items()}
        try:
            for future in as_completed(futures):
                keep(cache, futures[future], future.result())
        except BaseException:
            pool.shutdown(cancel_futures=True)
            raise


def execute(notebook, folder, timeout):
    """Execute a notebook in place; of a progress bar, only the last state stays."""
    begin, sources = time.monotonic(), []
    try:
        return single_nb_execution(
            notebook,
            cwd=folder,
            timeout=timeout,
            allow_errors=False,
            coalesce_streams=True,
            extra_arguments=["--log-level=ERROR"],  # no word on how the kernel's messages travel
            on_cell_execute=lambda cell, cell_index: sources.append(cell.source),
        )
    except DeadKernelError as error:  # the end of this notebook, not of the others
        words = f"{traceback.format_exc()}\nIt died in this cell:\n{sources[-1]}\n"
        return ExecutionResult(notebook, folder, time.monotonic() - begin, error, words)


def in_cache(cache, notebook):
    """Return whether the cache holds outputs for this notebook's code."""
    try:
        cache.match_cache_notebook(notebook)
    except KeyError:
        return False
    return True


def keep(cache, path, result):
    """Put an executed notebook into the cache, or set it aside for myst-nb where it failed."""
    print(
        f"{path.name} {'failed' if result.err else 'executed'} in {result.time:.0f} s", flush=True
    )
    if result.err:
        failed[source(result.nb)] = result
    else:
        bundle = CacheBundleIn(result.nb, str(path), data={"execution_seconds": result.time})
        cache.cache_notebook_bundle(bundle, check_validity=False, overwrite=True)


def source(notebook):
    """Return the code of a notebook."""
    return "\n\n".join(cell.source for cell in notebook.cells if cell.cell_type == "code")


def execute_once(notebook, **options):
    """Stand in for the function with which myst-nb executes a notebook that the cache lacks."""
    result = failed.pop(source(notebook), None)
    if result is None:
        return single_nb_execution(notebook, **options)
    notebook.update(result.nb)
    return result


def follow_downloads(app, exception):
    """Rename the cache when all that changed during the build is that data was downloaded.

    Otherwise the next build, which finds the data, would execute every notebook again. Where a
    sample had stood in for any of that data, it has to.
    """
    if exception:
        return
    old, paths = Path(app.config.nb_execution_cache_path), data_paths()
    new = cache_folder(app, paths)
    same_code = new.name.split("-")[0] == old.name.split("-")[0]
    only_added = all(path in (None, paths[name]) for name, path in app.data_paths.items())
    late = [name for name, path in paths.items() if path != app.data_paths[name]]
    if same_code and only_added and not sampled(old, late) and old.exists() and not new.exists():
        old.rename(new)


def sampled(folder, names):
    """Return whether a sample stood in for one of these data sets in a notebook of this cache."""
    from utils import datasets

    said = [f"{datasets.REGISTRY[name].title} is not at hand" for name in names]
    outputs = [path.read_text("utf-8") for path in folder.rglob("*.ipynb")]
    return any(words in output for words in said for output in outputs)


def remember_warnings(app, exception):
    """After a build with warnings make the next one read every page, so that it warns again.

    Sphinx reads only pages that changed, and would pass on its second try. After a build without
    warnings, take away the tracebacks of earlier ones.
    """
    if exception or app._warncount:
        (Path(app.doctreedir) / "environment.pickle").unlink(missing_ok=True)
    else:
        shutil.rmtree(Path(app.outdir) / "reports", ignore_errors=True)


def setup(app):
    """Connect the functions above to Sphinx's events."""
    myst_nb_cache.single_nb_execution = execute_once
    app.connect("config-inited", set_cache)
    app.connect("env-before-read-docs", execute_ahead)
    app.connect("build-finished", follow_downloads)
    app.connect("build-finished", remember_warnings)
    return {"version": "1", "parallel_read_safe": True, "parallel_write_safe": True}
