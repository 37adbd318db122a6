"""Writes a package with a pruner, as a start for its author."""

from __future__ import annotations

import re
from pathlib import Path
from string import Template

from lth_bench.experiments.plugins import NAME, Plugins
from lth_bench.storage.files import publish

TEMPLATES = Path(__file__).with_name("templates")
FILES = {
    "pyproject.toml": "pyproject.toml",
    "README.md": "README.md",
    "module.py": "{module}.py",
    "test_module.py": "tests/test_{module}.py",
}
"""Templates, and what they are called in the package."""


class ScaffoldError(ValueError):
    """A name or a folder that a new plugin cannot have."""


def write_plugin(name: str, folder: Path, plugins: Plugins) -> list[Path]:
    """Writes the package of a new pruner; returns its files. Raises ScaffoldError, and DiskFault."""
    if not NAME.fullmatch(name) or not name[-1].isalnum():
        raise ScaffoldError(f"a pruner's name matches {NAME.pattern} and ends in a letter or digit, unlike {name!r}")
    if name in plugins.pruners.items:
        owner = plugins.pruners.providers[name].distribution
        raise ScaffoldError(f"the pruner {name!r} is already registered by {owner}; choose another name")
    if folder.exists():
        raise ScaffoldError(f"{folder} is already there; give another folder by --out, or remove it")
    words = {"name": name, "module": module_name(name), "pruner": class_name(name)}
    written = []
    for template, place in FILES.items():
        text = Template((TEMPLATES / f"{template}.template").read_text(encoding="utf-8")).substitute(words)
        path = folder / place.format(**words)
        publish(path, text.encode())
        written.append(path)
    return written


def module_name(name: str) -> str:
    """The name of a module that shadows no other."""
    return f"lth_bench_{re.sub('[.-]', '_', name)}"


def class_name(name: str) -> str:
    words = "".join(part.capitalize() for part in re.split("[._-]", name))
    return f"Pruner{words}" if words[0].isdigit() else f"{words.removesuffix('Pruner')}Pruner"
