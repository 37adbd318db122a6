"""Patterns such as 2:4: of every M consecutive inputs of a weight matrix, N weights stay."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Pattern:
    """At most `kept` of every `of` consecutive inputs stay; of a convolution, of input channels at one position.

    Mishra et al. 2021, arXiv:2104.08378, for 2:4.
    """

    kept: int
    of: int

    @property
    def sparsity(self) -> float:
        """The sparsity of a layer that holds it."""
        return 1 - self.kept / self.of

    def fits(self, shape: Sequence[int]) -> bool:
        """Whether a weight of this shape, outputs × inputs × kernel, can hold it: its inputs make whole groups."""
        return len(shape) > 1 and shape[1] % self.of == 0

    def __str__(self) -> str:
        return f"{self.kept}:{self.of}"


def parsed(text: str) -> Pattern:
    """The pattern that a text such as "2:4" names. Raises ValueError."""
    if not (match := re.fullmatch(r"([1-9]\d{0,3}):([1-9]\d{0,3})", text)) or int(match[1]) >= int(match[2]):
        raise ValueError(f"a pattern reads '2:4', for 2 weights kept of every 4, not {text!r}")
    return Pattern(int(match[1]), int(match[2]))
