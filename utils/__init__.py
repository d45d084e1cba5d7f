"""What two or more chapters of the course use, and nothing else."""

import importlib
import importlib.util
import sys
import types

__all__ = [
    "batching",
    "checks",
    "d2l",
    "datasets",
    "live",
    "models",
    "ngrams",
    "plotting",
    "runtime",
    "sampling",
    "text",
    "training",
]


class _MissingTorchvision(types.ModuleType):
    """Stand in for torchvision, which d2l imports at its top and no chapter needs."""

    def __getattr__(self, name):
        if name.startswith("__"):
            raise AttributeError(name)
        raise ImportError(f"torchvision.{name} was asked for, but torchvision is not installed")


def __getattr__(name):
    """Load a submodule, or d2l, on first use, so that ``import utils`` costs nothing."""
    if name == "d2l":
        _stand_in_for_torchvision()
        return importlib.import_module("d2l.torch")
    if name in __all__:
        return importlib.import_module(f"utils.{name}")
    raise AttributeError(f"module 'utils' has no attribute {name!r}")


def _stand_in_for_torchvision():
    """Put the stand-in where ``import torchvision`` finds it, unless the real one is there."""
    if "torchvision" in sys.modules or importlib.util.find_spec("torchvision"):
        return
    sys.modules["torchvision"] = torchvision = _MissingTorchvision("torchvision")
    torchvision.transforms = _MissingTorchvision("torchvision.transforms")
    sys.modules["torchvision.transforms"] = torchvision.transforms
