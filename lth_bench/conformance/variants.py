"""The variants of a pruner, read from the types of its parameters."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from types import NoneType, UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin, get_type_hints


def variants(kind: type) -> list[dict[str, Any]]:
    """The default, then, one at a time, every other value of a Literal and of a bool."""
    hints = get_type_hints(kind, include_extras=True)
    fields = [f for f in dataclasses.fields(kind) if f.init]
    others = ((f.name, value) for f in fields for value in _values(hints[f.name]) if value != f.default)
    return [{}, *({name: value} for name, value in others)]


def _values(annotation: Any) -> Iterator[Any]:
    """All values of a type that has few values."""
    origin, parts = get_origin(annotation), get_args(annotation)
    if origin is Annotated:
        yield from _values(parts[0])
    elif origin is Literal:
        yield from parts
    elif annotation is bool:
        yield from (False, True)
    elif origin in (Union, UnionType):
        values = [value for part in parts for value in _values(part)]
        yield from [*values, None] if values and NoneType in parts else values
