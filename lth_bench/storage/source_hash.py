"""Hashes of the code that a plugin consists of."""

from __future__ import annotations

import ast
import hashlib
import inspect
import sys
from collections.abc import Iterable, Iterator
from functools import cache, partial
from pathlib import Path
from typing import Any

from lth_bench.experiments.datasets import Dataset
from lth_bench.hashing import canonical, sha256
from lth_bench.storage.code_slices import resting, unsaid

VERSIONED = {*sys.stdlib_module_names, "lth_bench", "torch", "torchvision", "timm", "numpy"}
"""Packages that do not count as part of a plugin."""
FILE = "lth_bench_file_"
"""Begins the module names of plugins that are single files; a package with such a module has the same hashes."""
INSTALLED = {"site-packages", "dist-packages"}
Part = tuple[str, str | None]  # a module, and the name of an item in it if not all of the module counts
DOCUMENTED = (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)


def file_hash(item: Any) -> str:
    """SHA-256 of the source file of a function or class, or of that of what a plugin registered with other things."""
    source = registered_source(item)
    try:
        file = inspect.getsourcefile(source if inspect.isroutine(source) or inspect.isclass(source) else type(source))
    except TypeError:  # built in
        file = None
    return hashlib.sha256(Path(file).read_bytes()).hexdigest() if file else "unknown"


def registered_source(item: Any) -> Any:
    """The function, class or object behind a registered item that computes: of a data set, what reads it."""
    source = item.read if isinstance(item, Dataset) else item
    return source.func if isinstance(source, partial) else source


@cache
def package_hash() -> str:
    """SHA-256 of the modules of lth-bench itself."""
    root = Path(__file__).parents[1]
    files = sorted(root.rglob("*.py"))
    return sha256(
        canonical([[file.relative_to(root).as_posix(), sha256(file.read_bytes())] for file in files]).encode()
    )


@cache
def modules_hash(names: frozenset[str]) -> str:
    """SHA-256 of the code of modules and of those that they import, directly or not, but for what is VERSIONED.

    Other installed packages count with the one file that is imported. Comments, docstrings, layout and what a plugin
    only says of its items (title, family, paper) do not count.
    """
    return _hash([(name, None) for name in names])


@cache
def part_hash(module: str, name: str) -> str:
    """The same of one class or function at the top of a module, and of what it uses of that module."""
    return _hash([(module, name)])


def forget_hashes() -> None:
    """Makes the next hashes those of what files hold by then."""
    modules_hash.cache_clear()
    part_hash.cache_clear()


def _hash(roots: list[Part]) -> str:
    own = {_top(name) for name, _ in roots}
    todo, hashes = roots, dict[Part, str | None]()
    while todo:
        part = name, item = todo.pop()
        if part in hashes or _top(name) in VERSIONED:
            continue
        file = _file(name)
        source = file.read_bytes() if file else b""
        tree = _parsed(source) if file and file.suffix == ".py" else None
        tree = resting(tree, item) if tree and item else tree
        hashes[part] = _code_hash(source, tree) if file else None
        if file and tree and (_top(name) in own or not _is_installed(file)):
            todo += [(imported, None) for imported in _imported(tree, name, file)]
    found = sorted([name.removeprefix(FILE), digest] for (name, _), digest in hashes.items() if digest)
    return sha256(canonical(found).encode())


def _top(name: str) -> str:
    return name.partition(".")[0]


def _is_installed(file: Path) -> bool:
    """Whether a file lies where packages are installed: for the environment, the user or the system."""
    return not INSTALLED.isdisjoint(file.parts)


def _file(name: str) -> Path | None:
    """The file of a module, Python or compiled; nothing is imported to find it."""
    places, spec, full = None, None, ""
    for part in name.split("."):
        if full and places is None:
            return None  # a module that is no package holds no modules
        full = f"{full}.{part}".lstrip(".")
        specs = (finder.find_spec(full, places) for finder in sys.meta_path)
        spec = next(filter(None, specs), None) or getattr(sys.modules.get(full), "__spec__", None)
        if spec is None:
            return None
        places = spec.submodule_search_locations
    file = Path((spec and spec.origin) or "")
    return file if file.is_file() else None


def _parsed(source: bytes) -> ast.Module | None:
    """The syntax tree of a module, without what it only says; None if it has none."""
    try:
        return unsaid(ast.parse(source))
    except (SyntaxError, ValueError, RecursionError):
        return None


def _code_hash(source: bytes, tree: ast.Module | None) -> str:
    """A hash of what a module computes; of all its bytes if it cannot be understood."""
    try:
        return sha256(canonical(_shape(tree)).encode()) if tree else hashlib.sha256(source).hexdigest()
    except RecursionError:
        return hashlib.sha256(source).hexdigest()


def _shape(node: Any) -> Any:
    """A syntax tree as lists, without docstrings and empty fields, and so the same under all versions of Python."""
    if isinstance(node, list):
        return [_shape(item) for item in node]
    if not isinstance(node, ast.AST):
        return repr(node)
    fields = [(name, value) for name, value in ast.iter_fields(node) if value is not None and value != []]
    if isinstance(node, DOCUMENTED) and ast.get_docstring(node, clean=False) is not None:
        fields = [(name, value[1:] if name == "body" else value) for name, value in fields]
    return [type(node).__name__, *([name, _shape(value)] for name, value in fields)]


def _imported(tree: ast.Module, name: str, file: Path) -> Iterator[str]:
    """The names that a module imports anywhere; some may be members of modules."""
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
