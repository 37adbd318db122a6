"""Which code a plugin consists of, by its hash."""

from __future__ import annotations

import hashlib
import inspect
import sys
from collections.abc import Iterable
from pathlib import Path
from types import ModuleType
from typing import Any

from lth_bench.files import canonical, sha256

VERSIONED = {*sys.stdlib_module_names, "lth_bench", "torch", "torchvision", "timm", "numpy"}
"""Packages that do not count as part of a plugin."""


def file_hash(item: Any) -> str:
    """SHA-256 of the file that something comes from."""
    file = inspect.getsourcefile(item)
    return hashlib.sha256(Path(file).read_bytes()).hexdigest() if file else "unknown"


def modules_hash(names: Iterable[str]) -> str:
    """SHA-256 of the source of modules and of those that they use, directly or not, but for what is VERSIONED."""
    todo, hashes = list(names), dict[str, str]()
    while todo:
        module = sys.modules.get(name := todo.pop())
        if module is None or name in hashes or name.partition(".")[0] in VERSIONED:
            continue
        file = Path(getattr(module, "__file__", None) or "")
        hashes[name] = hashlib.sha256(file.read_bytes()).hexdigest() if file.is_file() else "unknown"
        for value in list(vars(module).values()):
            used = value.__name__ if isinstance(value, ModuleType) else getattr(value, "__module__", None)
            todo += [used] if isinstance(used, str) else []
    return sha256(canonical(hashes).encode())
