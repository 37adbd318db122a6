"""Limits on an experiment, and on the silence of a worker."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass

SECONDS = {"s": 1, "m": 60, "h": 3600, "d": 86400}
BYTES = {"MB": 10**6, "GB": 10**9, "TB": 10**12}


@dataclass(frozen=True)
class Limits:
    """Seconds and bytes. `time` and `memory` are those of one experiment, unlimited by default.

    An experiment without progress for `stall` is ended; a lease whose owner is silent for `patience` is taken over;
    training writes a checkpoint every `checkpoint_every`.
    """

    time: float | None = None
    memory: int | None = None
    stall: float = 1800.0
    patience: float = 60.0
    checkpoint_every: float = 300.0


def seconds(text: str) -> float:
    """Reads "90s", "10m", "2h" or "1d"; raises ValueError."""
    return _number(text, SECONDS)


def size(text: str) -> int:
    """Reads "500MB", "8GB" or "1TB" as bytes; raises ValueError."""
    return round(_number(text, BYTES))


def _number(text: str, units: dict[str, int]) -> float:
    match = re.fullmatch(rf"([0-9]+(?:\.[0-9]+)?)\s*({'|'.join(units)})", text.strip())
    if match is None or not 0 < float(match[1]) < math.inf:
        examples = ", ".join(f"'10{unit}'" for unit in units)
        raise ValueError(f"a limit is a number with a unit, such as {examples}, not {text!r}")
    return float(match[1]) * units[match[2]]
