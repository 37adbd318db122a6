"""A benchmark of neural-network pruning methods on the same models, data and recipes.

The names in `__init__.pyi` are what plugins are made of, and the interface for scripts and notebooks of docs/python.md;
each is imported when it is first used.
"""

from importlib import import_module
from typing import Any

import lazy_loader

from lth_bench.models.on_import import extend_timm

_imported, __dir__, _names = lazy_loader.attach_stub(__name__, __file__)
__all__ = ["__version__", *_names]

extend_timm()


def __getattr__(name: str) -> Any:
    if name == "__version__":
        from importlib.metadata import version

        return version("lth-bench")
    if name == "results":  # a package, and a function when it is called
        return import_module("lth_bench.results")
    return _imported(name)
