"""How a network is trained: the same for every method."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, Literal

from lth_bench.experiments.durations import Duration

Initialisation = Literal["own", "kaiming_normal", "glorot_normal"]


@dataclass(frozen=True)
class Recipe:
    """A training recipe; no field belongs to one method alone. Raises ValueError for values that do not go together.

    A `duration` of "0it" trains nothing: methods then prune the network as it starts.

    Learning rate: `warmup` is linear; after it, `schedule` "step" multiplies by `factor` at each of the `milestones`,
    counted from the start of training, and "cosine" falls to zero over the remaining steps. Decay: on "all" parameters,
    or on "weights" alone, not on biases and norm layers. Augmentation: images are padded by `crop` black pixels and
    cropped at random; `flip` mirrors every second image on average; `cutout` is the side of a black square in pixels;
    `transforms` are arguments of `timm.data.create_transform`, for data sets that are not held in memory. Initial
    weights: the model's "own", Kaiming normal by fan-in, or Glorot normal, the last two with zero biases; `norm_scale`
    "uniform" draws the scales of batch norm from [0, 1). `precision` "bfloat16" runs passes under autocast; weights
    stay float32.

    The validation split is measured after every span `measure_every`, and at the recipe's end. An epoch has as many
    full batches as the training split.
    """

    duration: Duration
    batch_size: int
    learning_rate: float
    optimizer: Literal["sgd", "adam", "adamw"] = "sgd"
    momentum: float = 0.0
    weight_decay: float = 0.0
    schedule: Literal["constant", "cosine", "step"] = "constant"
    measure_every: Duration = Duration("1ep")
    nesterov: bool = False
    decay: Literal["all", "weights"] = "all"
    warmup: Duration = Duration("0it")
    milestones: tuple[Duration, ...] = ()
    factor: float = 0.1
    label_smoothing: float = 0.0
    crop: int = 0
    flip: bool = False
    cutout: int = 0
    transforms: dict[str, Any] = field(default_factory=dict)
    initialisation: Initialisation = "own"
    norm_scale: Literal["own", "uniform"] = "own"
    precision: Literal["float32", "bfloat16"] = "float32"
    channels_last: bool = False

    def __post_init__(self) -> None:
        if faults := list(self._faults()):
            raise ValueError("; ".join(faults))

    def stretched(self, factor: float) -> Recipe:
        """The same recipe over `factor` times as long: its duration, warm-up and milestones."""
        milestones = tuple(milestone.times(factor) for milestone in self.milestones)
        duration, warmup = self.duration.times(factor), self.warmup.times(factor)
        return dataclasses.replace(self, duration=duration, warmup=warmup, milestones=milestones)

    def _faults(self) -> Iterator[str]:
        for name in ("batch_size", "learning_rate", "factor"):
            if not 0 < getattr(self, name) < math.inf:
                yield f"{name} must be positive and finite, not {getattr(self, name)}"
        for name in ("momentum", "weight_decay", "crop", "cutout"):
            if not 0 <= getattr(self, name) < math.inf:
                yield f"{name} must be finite and not negative, not {getattr(self, name)}"
        if not 0 <= self.label_smoothing < 1:
            yield f"label_smoothing must lie in [0, 1), not {self.label_smoothing}"
        if self.momentum and self.optimizer != "sgd":
            yield f"momentum is for sgd; {self.optimizer} has none"
        if self.nesterov and not self.momentum:
            yield "nesterov needs a momentum"
        if self.milestones and self.schedule != "step":
            yield f"milestones go with schedule 'step', not with {self.schedule!r}"
        if self.schedule == "step" and not self.milestones:
            yield "schedule 'step' needs milestones, such as ['80ep', '120ep']"
        if not self.measure_every.strip("0.itep%"):
            yield f"measure_every must be longer than {self.measure_every!r}"
        if not self.duration.strip("0.itep%") and self.duration != "0it":
            yield f"duration must be longer than {self.duration!r}; a recipe that trains nothing has the duration '0it'"
        if self.duration.endswith("%"):
            yield f"duration is in 'it' or 'ep', not a share of itself: {self.duration}"


class Schedule:
    """The learning rate of a recipe as a function of the step, where an epoch has `epoch` steps.

    Raises ValueError for a warm-up or milestones that do not fit into the recipe; in one of no steps they mean nothing.
    """

    __slots__ = ("_milestones", "_recipe", "_warmup", "total")

    def __init__(self, recipe: Recipe, epoch: int) -> None:
        self._recipe = recipe
        self.total = recipe.duration.steps(epoch)
        self._warmup = recipe.warmup.steps(epoch, self.total)
        self._milestones = [milestone.steps(epoch, self.total) for milestone in recipe.milestones]
        if self.total and self._warmup >= self.total:
            raise ValueError(f"a warmup of {self._warmup} steps does not fit into the {self.total} of the recipe")
        rising = self._milestones == sorted(set(self._milestones))
        if self.total and (not rising or max(self._milestones, default=0) > self.total):
            raise ValueError(
                f"milestones must rise and lie within the {self.total} steps of the recipe, not {self._milestones}"
            )

    def rate(self, step: int) -> float:
        """The learning rate of the update at `step`; after the recipe's end, that of its last step."""
        recipe, step = self._recipe, max(0, min(step, self.total - 1))
        if step < self._warmup:
            return recipe.learning_rate * self._share(step) * (step + 1) / self._warmup
        return recipe.learning_rate * self._share(step)

    @property
    def vanishes(self) -> bool:
        """Whether the learning rate is zero at the end; that of a recipe of no steps never falls."""
        return self._share(self.total) == 0

    def _share(self, step: int) -> float:
        """The share of the full learning rate, without the warm-up."""
        if self._recipe.schedule == "step":
            return float(self._recipe.factor ** sum(step >= milestone for milestone in self._milestones))
        if self._recipe.schedule == "constant" or step < self._warmup or not self.total:
            return 1.0
        progress = (step - self._warmup) / (self.total - self._warmup)
        return (1 + math.cos(math.pi * progress)) / 2
