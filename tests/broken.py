"""Cells that must fail nbval and the build: of each kind its source, and words of its error."""

BROKEN = {
    "import": ("from utils import no_such_module", "cannot import name 'no_such_module'"),
    "claim": (
        "from utils.runtime import claim\nclaim('one and one', 1 + 1, equal=3)",
        "ClaimError: ✗ one and one: 2 = 3 does not hold",
    ),
    "cell": ("1 / 0", "ZeroDivisionError: division by zero"),
    "kernel": ("import os\nos._exit(1)", "Kernel died"),
}
