"""Hashes of the code that a plugin consists of."""

from __future__ import annotations

import ast
import hashlib
import inspect
import sys
from collections.abc import Iterable, Iterator
from functools import cache
from pathlib import Path
from typing import Any

from lth_bench.hashing import canonical, sha256

VERSIONED = {*sys.stdlib_module_names, "lth_bench", "torch", "torchvision", "timm", "numpy"}
"""Packages that do not count as part of a plugin."""
INSTALLED = {"site-packages", "dist-packages"}


def file_hash(item: Any) -> str:
    """SHA-256 of the source file of a function or class."""
    file = inspect.getsourcefile(item)
    return hashlib.sha256(Path(file).read_bytes()).hexdigest() if file else "unknown"


@cache
def modules_hash(names: frozenset[str]) -> str:
    """SHA-256 of the source of modules and of those that they import, directly or not, but for what is VERSIONED.

    Other installed packages count with the one file that is imported.
    """
    own = {_top(name) for name in names}
    todo, hashes = list(names), dict[str, str | None]()
    while todo:
        name = todo.pop()
        if name in hashes or _top(name) in VERSIONED:
            continue
        file = _file(name)
        source = file.read_bytes() if file else b""
        hashes[name] = hashlib.sha256(source).hexdigest() if file else None
        if file and (_top(name) in own or not _is_installed(file)):
            todo += _imported(source, name, file)
    return sha256(canonical({name: digest for name, digest in hashes.items() if digest}).encode())


def _top(name: str) -> str:
    return name.partition(".")[0]


def _is_installed(file: Path) -> bool:
    """Whether a file lies where packages are installed: for the environment, the user or the system."""
    return not INSTALLED.isdisjoint(file.parts)


def _file(name: str) -> Path | None:
    """The Python file of a module; nothing is imported to find it."""
    places, spec, full = None, None, ""
    for part in name.split("."):
        if full and places is None:
            return None  # a module that is no package holds no modules
        full = f"{full}.{part}".lstrip(".")
        specs = (finder.find_spec(full, places) for finder in sys.meta_path)
        spec = next(filter(None, specs), None)
        if spec is None:
            return None
        places = spec.submodule_search_locations
    file = Path((spec and spec.origin) or "")
    return file if file.suffix == ".py" and file.is_file() else None


def _imported(source: bytes, name: str, file: Path) -> Iterator[str]:
    """The names that a module imports anywhere; some may be members of modules."""
    try:
        tree = ast.parse(source)
    except SyntaxError:
        return
    package = name.split(".") if file.name == "__init__.py" else name.split(".")[:-1]
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from _packages(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            above = package[: len(package) - node.level + 1] if node.level else []
            base = ".".join([*above, *filter(None, [node.module])])
            yield from _packages(f"{base}.{alias.name}" for alias in node.names)


def _packages(names: Iterable[str]) -> Iterator[str]:
    """The names and the packages above them, which are imported with them."""
    for name in names:
        parts = name.split(".")
        yield from (".".join(parts[:count]) for count in range(1, len(parts) + 1))
