"""Which figures of a folder are as a new drawing would make them, so that they need not be drawn again."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import fields
from functools import cache
from importlib.metadata import version
from pathlib import Path
from typing import Any

import pandas as pd
from msgspec import Struct, ValidationError, convert, to_builtins

from lth_bench.errors import FileFault
from lth_bench.hashing import sha256
from lth_bench.reports.figures.style import FILES, Setting
from lth_bench.reports.figures.view import View
from lth_bench.storage.sealed import publish_json, read_json

LIST = "figures.json"
DRAWING = ("matplotlib", "seaborn", "pandas", "numpy", "pillow", "fonttools")
CODE = Path(__file__).parents[1]


class KeptFigure(Struct, frozen=True):
    """What a figure shows, as a hash, and the hashes of its files by kind."""

    shows: str
    files: dict[str, str]


def shown(view: View, setting: Setting, kinds: Iterable[str]) -> dict[str, str]:
    """A hash for each kind of all that decides a figure's files: leaderboard, setting, kind, and what draws it."""
    values = {field.name: _plain(getattr(view, field.name)) for field in fields(view)}
    common = sha256(repr([drawing(), setting, values]).encode())
    return {kind: sha256(f"{common} {kind}".encode()) for kind in kinds}


@cache
def drawing() -> list[str]:
    """The code and the libraries that draw figures."""
    code = sha256(path.read_bytes() for path in sorted(CODE.rglob("*.py")))
    return [code, *(version(package) for package in DRAWING)]


def _plain(value: Any) -> Any:
    """Tables as dictionaries, whose `repr` tells every digit."""
    if isinstance(value, pd.DataFrame):
        return value.to_dict("split")
    if isinstance(value, pd.Series):
        return value.to_dict()
    return {name: _plain(item) for name, item in value.items()} if isinstance(value, dict) else value


def kept(folder: Path, figures: Mapping[str, str]) -> set[str]:
    """The stems of those figures, given with what they show, whose files are in the folder as they were written."""
    try:
        listed = convert(read_json(folder / LIST), dict[str, KeptFigure])
    except (FileFault, ValidationError):
        return set()
    return {stem for stem, shows in figures.items() if listed.get(stem) == KeptFigure(shows, _hashes(folder, stem))}


def keep(folder: Path, figures: Mapping[str, str]) -> None:
    """Notes what these figures show, after their files have been written."""
    listed = {stem: KeptFigure(shows, _hashes(folder, stem)) for stem, shows in figures.items()}
    publish_json(folder / LIST, to_builtins(listed))


def _hashes(folder: Path, stem: str) -> dict[str, str]:
    paths = {kind: folder / f"{stem}.{kind}" for kind in FILES}
    return {kind: sha256(path.read_bytes()) for kind, path in paths.items() if path.is_file()}
