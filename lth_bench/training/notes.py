"""Notes on a search, as values that a record can hold."""

from __future__ import annotations

import math
from typing import Any, cast

import numpy as np
from torch import Tensor

from lth_bench.errors import SessionError

Scalar = bool | int | float | str
Value = Scalar | list[Any] | tuple[Any, ...] | Tensor | np.generic | np.ndarray[Any, Any]

ARRAYS = (Tensor, np.generic, np.ndarray)


def plain(name: str, value: Value) -> Scalar | list[Scalar]:
    """A note's value as Python numbers and texts; tensors and NumPy arrays of at most one dimension are converted.

    Raises SessionError for everything else, and for numbers that JSON lacks.
    """
    if not isinstance(name, str):
        raise SessionError(f"the name of a note must be a text, not {name!r}")
    content = unpacked(value)
    if isinstance(content, (list, tuple)):
        return [_scalar(name, unpacked(item)) for item in content]
    return _scalar(name, content)


def unpacked(value: Any) -> Any:
    """A tensor or an array as numbers and lists of them; other values as they are."""
    return value.tolist() if isinstance(value, ARRAYS) else value


def _scalar(name: str, value: object) -> Scalar:
    if wrong := fault(value):
        raise SessionError(f"note {name!r} {wrong}; wanted a finite number, a text or a list of these")
    return cast(Scalar, value)


def fault(value: object) -> str | None:
    """Why a record cannot hold a value, if so."""
    if isinstance(value, list):
        return "has more than one dimension"
    if not isinstance(value, Scalar):
        return f"holds a value of type {type(value).__name__!r}"
    if isinstance(value, float) and not math.isfinite(value):
        return f"holds {value}"
    if isinstance(value, int) and not -(2**63) <= value < 2**63:
        return "holds an integer of more than 64 bits"
    if isinstance(value, str) and any("\ud800" <= character <= "\udfff" for character in value):
        return f"holds {value!r}, half of a surrogate pair"
    return None
