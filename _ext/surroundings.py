"""What has to be right before any chapter runs: whose `utils` it gets, and the settings."""

import os
from importlib.machinery import PathFinder
from pathlib import Path

ROOT = Path(__file__).parents[1]


def python_path(folder):
    """Return PYTHONPATH for the code of a folder, with the course's `utils` before all others.

    Raises ImportError where the folder itself holds another one: Python looks there first.
    """
    found = PathFinder.find_spec("utils", [str(folder), str(ROOT)])
    if Path(found.origin) != ROOT / "utils/__init__.py":
        raise ImportError(
            f"{found.origin} would be imported as utils, in the place of the course's own: "
            "give it another name, or move it to another folder"
        )
    return os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH")]))


def settings():
    """Return what the environment chooses; raise ValueError for what cannot be chosen."""
    from utils.runtime import device, profile, switch  # once Sphinx knows where they are

    return device().type, profile(), switch("COURSE_REQUIRE_DATA")
