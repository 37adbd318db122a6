"""Spans of training as suites write them."""

from __future__ import annotations

import math
import re
from typing import Any

PATTERN = re.compile(r"([0-9]+(?:\.[0-9]+)?)(it|ep|%)")


class Duration(str):
    """A span of training: iterations (``500it``), epochs (``2ep``) or a share of the recipe (``10%``).

    Raises ValueError for any other text.
    """

    __slots__ = ()

    def __new__(cls, text: str) -> Duration:
        match = PATTERN.fullmatch(text) if isinstance(text, str) else None
        if match is None or (match[2] == "it" and "." in match[1]):
            raise ValueError(f"a duration reads '500it', '2ep' or '10%', not {text!r}")
        return super().__new__(cls, text)

    def steps(self, epoch: int, total: int | None = None) -> int:
        """Steps in this span, where an epoch has `epoch` steps and the recipe `total`.

        Raises ValueError for a share without `total`.
        """
        number, unit = float(self.rstrip("itep%")), self.lstrip("0123456789.")
        if unit == "%":
            if total is None:
                raise ValueError(f"a recipe's own duration cannot be a share of itself: {self!r}")
            return round(number / 100 * total)
        return round(number * epoch) if unit == "ep" else int(number)

    def times(self, factor: float) -> Duration:
        """This span in a recipe that is `factor` times as long; a share stays as it is. Raises ValueError."""
        if not 0 < factor < math.inf:
            raise ValueError(f"a span is multiplied by a finite number above 0, not by {factor}")
        number, unit = float(self.rstrip("itep%")), self.lstrip("0123456789.")
        if unit == "%":
            return self
        return Duration(f"{round(number * factor)}it" if unit == "it" else f"{number * factor:.6f}".rstrip("0") + "0ep")

    @classmethod
    def __get_pydantic_core_schema__(cls, source: Any, handler: Any) -> Any:
        from pydantic_core import core_schema

        return core_schema.no_info_plain_validator_function(cls)
