"""A benchmark of neural-network pruning methods on the same models, data and recipes.

The names in `__init__.pyi` are what plugins are made of; each is imported when it is first used.
"""

from typing import Any

import lazy_loader

_imported, __dir__, _names = lazy_loader.attach_stub(__name__, __file__)
__all__ = ["__version__", *_names]


def __getattr__(name: str) -> Any:
    if name == "__version__":
        from importlib.metadata import version

        return version("lth-bench")
    return _imported(name)
