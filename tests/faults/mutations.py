"""Documents as an attacker would change them: parts of another type, size, depth or number, and then sealed again."""

from __future__ import annotations

import json
import random
from pathlib import Path
from typing import Any

from lth_bench.storage.sealed import sealed
from support.hostile import HOSTILE

NUMBERS = (True, -1, 0, 1, 3, 1e308, -1e308, 10**18, 2**63, -(2**70), 10**300, 1e-320, -0.5, 0.5, 1.5, 4102444800)
NOTHINGS = (None, "", [], {}, [[]], [None], [{}], {"": None})
PATHS = ("../../outside", "/tmp/outside", "a/../../b", "..", "a\0b", "x" * 300, "con.json")
MANY = 3000
DEEP = 2000
"""Levels that Python's parser of JSON takes, but no function that goes down them does."""


def deep(levels: int = DEEP) -> Any:
    value: Any = []
    for _ in range(levels):
        value = [value]
    return value


def large(draw: random.Random) -> Any:
    """Thousands of parts, huge products of sizes, or a long text."""
    return draw.choice(
        [
            lambda: [2**40] * 50,
            lambda: list(range(MANY)),
            lambda: [{"name": str(number)} for number in range(MANY)],
            lambda: {f"layer{number}": {"size": 1, "mask": 1, "kept": 1} for number in range(MANY)},
            lambda: "x" * 1_000_000,
            lambda: "\u202e\x1b[2J" * 1000,
        ]
    )()


def text(draw: random.Random) -> str:
    return draw.choice((*HOSTILE, *PATHS)).encode("utf-8", "replace").decode()


def value(draw: random.Random) -> Any:
    """Something that does not belong where it is put."""
    kind = draw.random()
    if kind < 0.4:
        return draw.choice(NUMBERS)
    if kind < 0.6:
        return draw.choice(NOTHINGS)
    if kind < 0.8:
        return text(draw)
    return deep() if kind < 0.85 else large(draw)


def places(document: Any, path: tuple[Any, ...] = ()) -> Any:
    """The ways to the parts of a JSON value, of a list to its first four."""
    named = document.items() if isinstance(document, dict) else ()
    numbered = enumerate(document[:4]) if isinstance(document, list) and len(path) < 20 else ()
    for key, part in [*named, *numbered]:
        yield (*path, key)
        yield from places(part, (*path, key))


def changed(document: Any, draw: random.Random) -> Any:
    """A document with up to three of its parts removed, replaced, repeated or added to."""
    for _ in range(draw.choice((1, 1, 1, 2, 3))):
        if not (ways := list(places(document))):
            return document
        *way, last = draw.choice(ways)
        part = document
        for key in way:
            part = part[key]
        kind = draw.random()
        if kind < 0.2:
            del part[last]
        elif kind < 0.8:
            part[last] = value(draw)
        elif kind < 0.85 and isinstance(part[last], list):
            part[last] = part[last] * draw.choice((2, 100))
        elif isinstance(part, dict):
            part[text(draw)[:300] if draw.random() < 0.1 else "another"] = value(draw)
        else:
            part.append(value(draw))
    return document


def as_file(document: Any, draw: random.Random) -> bytes:
    """A document sealed with its right checksum; or, rarely, something that cannot be sealed or is no JSON."""
    try:
        if draw.random() < 0.95 and isinstance(document, dict):
            return sealed(document)
        return draw.choice([json.dumps(document).encode(), b"[" * 100_000, b"", b"\xff\xfe", b"NaN", b'{"a":NaN}\n'])
    except (ValueError, TypeError, RecursionError):
        return b'{"checksum":"' + b"0" * 64 + b'","deep":' + b"[" * 50_000 + b"]" * 50_000 + b"}\n"


def unsealed(path: Path) -> Any:
    document = json.loads(path.read_bytes())
    document.pop("checksum", None)
    return document
