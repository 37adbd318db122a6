"""How a network is trained: the same for every method."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

from lth_bench.durations import Duration


@dataclass(frozen=True)
class Recipe:
    """A training recipe; it carries no field of any one method.

    `measure_every` is the span between two measurements on the validation split; the recipe's end is always
    measured. An epoch is as many full batches as fit the training split.
    """

    duration: Duration
    batch_size: int
    learning_rate: float
    optimizer: Literal["sgd", "adam", "adamw"] = "sgd"
    momentum: float = 0.0
    weight_decay: float = 0.0
    schedule: Literal["constant", "cosine"] = "constant"
    measure_every: Duration = Duration("1ep")

    def __post_init__(self) -> None:
        positive = {"batch_size": self.batch_size, "learning_rate": self.learning_rate}
        for name, value in positive.items():
            if not 0 < value < math.inf:
                raise ValueError(f"{name} must be positive and finite, not {value}")
        for name in ("momentum", "weight_decay"):
            if not 0 <= getattr(self, name) < math.inf:
                raise ValueError(f"{name} must be finite and not negative, not {getattr(self, name)}")
        if self.momentum and self.optimizer != "sgd":
            raise ValueError(f"momentum is for sgd; {self.optimizer} has none")
        for name in ("duration", "measure_every"):
            if not getattr(self, name).strip("0.itep%"):
                raise ValueError(f"{name} must be longer than {getattr(self, name)!r}")
        if self.duration.endswith("%"):
            raise ValueError(f"duration is in 'it' or 'ep', not a share of itself: {self.duration}")


def learning_rate(recipe: Recipe, step: int, total: int) -> float:
    """The learning rate of the update that leaves `step` behind; past the end the last one holds."""
    if recipe.schedule == "constant":
        return recipe.learning_rate
    progress = min(step, total - 1) / total
    return recipe.learning_rate * (1 + math.cos(math.pi * progress)) / 2
