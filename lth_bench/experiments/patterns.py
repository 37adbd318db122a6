"""Patterns of pruned weights: 2:4 keeps two of every four."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Pattern:
    """Of every `of` consecutive inputs of an output, `kept` weights are kept."""

    kept: int
    of: int

    @classmethod
    def parsed(cls, text: str) -> Pattern:
        """The pattern that is written as "2:4". Raises ValueError."""
        found = re.fullmatch(r"([1-9][0-9]*):([1-9][0-9]*)", text)
        if found is None or int(found[1]) >= int(found[2]):
            raise ValueError(
                f"a pattern must be two whole numbers N:M with 0 < N < M, such as '2:4', which keeps 2 of every 4 "
                f"weights, not {text!r}"
            )
        return cls(int(found[1]), int(found[2]))

    @property
    def sparsity(self) -> float:
        """The sparsity of a layer that holds the pattern."""
        return 1 - self.kept / self.of

    def fits(self, shape: Sequence[int]) -> bool:
        """Whether a weight of this shape can hold the pattern: its inputs, the second dimension, make whole groups."""
        return shape[1] % self.of == 0

    def __str__(self) -> str:
        return f"{self.kept}:{self.of}"
