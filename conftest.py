"""How nbval checks the chapters: what is compared, and when a missing data set makes a cell lax."""

import os
import sys
import time
from collections import Counter, defaultdict
from itertools import chain
from pathlib import Path
from queue import Empty

import nbval.plugin
import pytest
from nbval.kernel import RunningKernel
from nbval.plugin import IPyNbCell

ROOT = Path(__file__).parent
sys.path.insert(0, str(ROOT / "_ext"))
from compare import how_checked, missing_tags  # noqa: E402
from cores import CORES, keep_to  # noqa: E402

# nbval compares stdout and text/plain. Left out, besides its own list (png, jpeg, widgets):
NOT_COMPARED = ("stderr", "text/html", "text/latex", "text/markdown", "image/svg+xml")
# What takes long begins early, so that no worker is still at it when the others have ended.
LONG_FIRST = ["test_reproducibility.py", "test_browser.py", "test_site.py", "test_nbval.py"]
LONG_FIRST += sorted((path.name for path in ROOT.glob("chapters/*.ipynb")), reverse=True)


def pytest_configure(config):
    """Give every kernel the same surroundings; mend how nbval talks to it."""
    os.environ["PYTHONPATH"] = os.pathsep.join(
        filter(None, [str(ROOT), os.environ.get("PYTHONPATH")])
    )
    os.environ["OMP_NUM_THREADS"] = "1"  # or tests side by side would share their cores
    os.environ["PYTHONHASHSEED"] = "0"  # test_reproducibility.py has another
    RunningKernel.__init__ = start_kernel
    RunningKernel.execute_cell_input = execute_cell_input
    RunningKernel.get_message = get_message
    # Coverage is that of the unit tests: within a kernel it ends the kernel.
    nbval.plugin.setup_coverage = nbval.plugin.teardown_coverage = lambda *_: None


def start_kernel(self, *args, start=RunningKernel.__init__, **options):
    """Stand in for nbval's method: two threads, which keep to the core of their worker."""
    worker = int(os.environ.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw"))
    with keep_to(CORES[worker % len(CORES)]), pytest.MonkeyPatch.context() as patch:
        patch.setenv("OMP_NUM_THREADS", "2")
        start(self, *args, **options)


def execute_cell_input(self, cell_input, allow_stdin=None):
    """Stand in for nbval's method, with the history that a trailing ; needs."""
    return self.kc.execute(
        cell_input, store_history=True, allow_stdin=allow_stdin, stop_on_error=False
    )


def get_message(self, stream, timeout, ask=RunningKernel.get_message):
    """Stand in for nbval's method, which waits 2,000 s for the answer of a kernel that died."""
    end = time.monotonic() + timeout
    while True:
        try:
            return ask(self, stream, timeout=min(1, timeout))
        except Empty:
            if not self.is_alive():
                raise RuntimeError("Kernel died") from None
            if time.monotonic() >= end:
                raise


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
        if isinstance(item, IPyNbCell):
            item.parent.skip_compare = tuple({*item.parent.skip_compare, *NOT_COMPARED})
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
