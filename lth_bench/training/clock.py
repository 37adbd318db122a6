"""What is asked for step after step, worked out for some steps at once."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

Value = TypeVar("Value")
STEPS = 50


class Ahead(dict[int, Value]):
    """By step, what a function of the step gives; a lookup runs no Python but once in 50 steps.

    Between two steps of training the processor forgets the code that it does not need for them.
    """

    def __init__(self, function: Callable[[int], Value]) -> None:
        super().__init__()
        self._function = function

    def __missing__(self, step: int) -> Value:
        self.clear()
        self.update({later: self._function(later) for later in range(step, step + STEPS)})
        return self[step]
