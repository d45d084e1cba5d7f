"""The kernel in which nbval executes the chapters; kernel.json beside it sets its surroundings.

Two threads take turns on one core. They share each sum as they would on two cores; but on two that
have other tests to do, they wait for each other longer than they work.
"""

import os

from ipykernel.ipkernel import IPythonKernel
from ipykernel.kernelapp import IPKernelApp


class CourseKernel(IPythonKernel):
    """IPython's kernel, with the history that a trailing semicolon needs; nbval asks for none."""

    async def do_execute(self, code, silent, store_history=True, *args, **options):
        """Execute code, and keep it in the history."""
        return await super().do_execute(code, silent, not silent, *args, **options)


if __name__ == "__main__":
    if hasattr(os, "sched_setaffinity"):
        cores = sorted(os.sched_getaffinity(0))
        worker = int(os.environ.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw"))
        os.sched_setaffinity(0, {cores[worker % len(cores)]})
    IPKernelApp.launch_instance(kernel_class=CourseKernel)
