"""Kernels that keep to one core: two threads take turns there, as they would not on a busy machine.

They share each sum as they would on two cores. But on two that have other things to do, they wait
for each other longer than they work.
"""

import os
from contextlib import contextmanager

CAN_CHOOSE = hasattr(os, "sched_setaffinity")
CORES = sorted(os.sched_getaffinity(0)) if CAN_CHOOSE else range(os.cpu_count() or 1)


@contextmanager
def keep_to(core):
    """Let the processes that are started here run on this core, where the system allows it."""
    if CAN_CHOOSE:
        os.sched_setaffinity(0, {core})
    try:
        yield
    finally:
        if CAN_CHOOSE:
            os.sched_setaffinity(0, CORES)
