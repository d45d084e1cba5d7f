"""How nbval checks the chapters: in which kernel, what is compared, and what missing data changes.

Where nbval has no option for what the course needs, this file reads and sets attributes of its
cells, and gives it another class of kernels. It does so for the one version it was written for.
"""

import os
import sys
from collections import Counter, defaultdict
from importlib.metadata import version
from itertools import chain
from pathlib import Path

import pytest
from nbval import plugin

ROOT = Path(__file__).parent
sys.path[:0] = [str(ROOT), str(ROOT / "_ext")]  # before another utils
from compare import how_checked, missing_tags  # noqa: E402
from surroundings import python_path  # noqa: E402

NBVAL = "0.11.0"
# What takes long begins early, so that no worker is still at it when the others have ended.
LONG_FIRST = ["test_reproducibility.py", "test_browser.py", "test_site.py", "test_nbval.py"]
LONG_FIRST += sorted((path.name for path in ROOT.glob("chapters/*.ipynb")), reverse=True)


class Kernel(plugin.RunningKernel):
    """A kernel that is started again where another process took one of its ports meanwhile."""

    def __init__(self, *arguments, **options):
        try:
            super().__init__(*arguments, **options)
        except RuntimeError:
            super().__init__(*arguments, **options)


plugin.RunningKernel = Kernel


def pytest_configure(config):
    """Let every kernel find this tree's utils, and nbval the kernel that pyproject.toml names."""
    if version("nbval") != NBVAL:
        raise pytest.UsageError(f"conftest.py was written for nbval {NBVAL}: look at it again")
    try:
        os.environ["PYTHONPATH"] = python_path(ROOT / "chapters")
    except ImportError as error:
        raise pytest.UsageError(error) from None
    kernels = [str(ROOT / "tests/jupyter"), os.environ.get("JUPYTER_PATH")]
    os.environ["JUPYTER_PATH"] = os.pathsep.join(filter(None, kernels))
    os.environ["OMP_NUM_THREADS"] = "1"  # or tests side by side would share their cores


def place(item):
    """Return the place of a test's file in the order of execution."""
    name = item.path.name
    return LONG_FIRST.index(name) if name in LONG_FIRST else len(LONG_FIRST)


@pytest.hookimpl(tryfirst=True)  # xdist writes the groups into the names of the tests after this
def pytest_collection_modifyitems(config, items):
    """Keep files together; run cells of a missing data set without comparing; note how."""
    items.sort(key=place)
    missing = missing_tags()
    for item in items:
        if not item.get_closest_marker("xdist_group"):
            item.add_marker(pytest.mark.xdist_group(item.path.name))  # a file stays together
        if isinstance(item, plugin.IPyNbCell):
            # Warnings and notes to the reader go to stderr, and depend on data and profile.
            item.parent.skip_compare = {*item.parent.skip_compare, "stderr"}
            item.user_properties.append(("checked", how_checked(item.cell, missing)))
            if missing & set(item.cell.metadata.get("tags", [])):
                item.options["check"] = False


def pytest_terminal_summary(terminalreporter):
    """Print for each notebook how many cells were compared, and why the others were not."""
    checked = defaultdict(Counter)
    for report in chain.from_iterable(terminalreporter.stats.values()):
        if getattr(report, "when", None) == "call":
            notebook = report.nodeid.partition("::")[0]
            checked[notebook].update(dict(report.user_properties).get("checked", "").splitlines())
    rows = {notebook: counts for notebook, counts in sorted(checked.items()) if counts}
    if rows:
        terminalreporter.section("cells compared with their stored outputs, or executed only")
    for notebook, counts in rows.items():
        compared = counts.pop("compared", 0)
        others = ", ".join(f"{why} {count}" for why, count in sorted(counts.items())) or "none"
        terminalreporter.line(f"{notebook}: {compared} compared; executed only: {others}")
