"""How nbval checks the chapters: what is compared, and when a missing data set makes a cell lax."""

import os
from pathlib import Path

from nbval.kernel import RunningKernel
from nbval.plugin import IPyNbCell

from utils import datasets

ROOT = Path(__file__).parent
# nbval compares stdout and text/plain. Left out, besides its own list (png, jpeg, widgets):
NOT_COMPARED = ("stderr", "text/html", "text/latex", "text/markdown", "image/svg+xml")


def pytest_configure(config):
    """Give every kernel the same surroundings, and nbval the history that a trailing ; needs."""
    os.environ["PYTHONPATH"] = os.pathsep.join(
        filter(None, [str(ROOT), os.environ.get("PYTHONPATH")])
    )
    os.environ.setdefault("OMP_NUM_THREADS", "1")  # one core for each of pytest's workers

    def execute(self, cell_input, allow_stdin=None):
        return self.kc.execute(
            cell_input, store_history=True, allow_stdin=allow_stdin, stop_on_error=False
        )

    RunningKernel.execute_cell_input = execute


def pytest_collection_modifyitems(config, items):
    """Run cells of a data set that is not there without comparing them."""
    missing = {
        f"data-{name.replace('_', '-')}" for name in datasets.REGISTRY if not datasets.locate(name)
    }
    for item in items:
        if isinstance(item, IPyNbCell):
            item.parent.skip_compare = tuple({*item.parent.skip_compare, *NOT_COMPARED})
            if missing & set(item.cell.metadata.get("tags", [])):
                item.options["check"] = False
