"""The clock of a Session, and everything in training that is a pure function of (seed, step)."""

from __future__ import annotations

import operator
from collections.abc import Callable
from typing import TypeVar

import torch

from lth_bench.errors import SessionError, Unsuitable
from lth_bench.experiments.durations import Duration
from lth_bench.experiments.recipe import Recipe, Schedule
from lth_bench.randomness import noise, stream_seed

Value = TypeVar("Value")
Until = int | str | None
STEPS = 50


class Precomputed(dict[int, Value]):
    """The values of a function of the step, worked out for 50 steps at once.

    A lookup runs no Python but once in 50 steps: on small networks, Python code that training does not need otherwise
    falls out of the CPU cache between two steps and costs several microseconds each time.
    """

    def __init__(self, function: Callable[[int], Value]) -> None:
        super().__init__()
        self._function = function

    def __missing__(self, step: int) -> Value:
        self.clear()
        self.update({later: self._function(later) for later in range(step, step + STEPS)})
        return self[step]


class Clock:
    """The step that training has reached, and the recipe that it follows.

    `total` is the recipe's length in steps.
    """

    def __init__(self, recipe: Recipe, seed: int, steps_per_epoch: int, device: torch.device) -> None:
        self.seed, self.step = seed, 0
        self._steps_per_epoch = steps_per_epoch
        self._seed_noise = noise(device)
        self._noise_seeds = Precomputed(lambda step: stream_seed(seed, "noise", step))
        self.follow(recipe)

    def follow(self, recipe: Recipe) -> None:
        """Switches to another recipe."""
        self.recipe, self.schedule = recipe, Schedule(recipe, self._steps_per_epoch)
        self._rates = Precomputed(self.schedule.rate)
        self.total = self.schedule.total
        self.measure_every = max(1, self.steps(recipe.measure_every))

    def steps(self, until: Until) -> int:
        """The step at the end of a duration counted from step 0; a step is itself, None is the recipe's end."""
        if until is None:
            return self.total
        if isinstance(until, str):
            return Duration(until).steps(self._steps_per_epoch, self.total)
        return operator.index(until)

    def check_ahead(self, end: int) -> None:
        """Raises SessionError for a step that has passed, and Unsuitable for any in a recipe that trains nothing."""
        if end < self.step:
            raise SessionError(f"cannot train until step {end}: the clock stands at {self.step}")
        if not self.total and end:
            raise Unsuitable(
                f"the method trains until step {end}, but the recipe lasts {self.recipe.duration!r} and trains "
                "nothing; let the method train no steps of its own, or use a longer recipe"
            )

    def rate(self) -> float:
        """The learning rate of this step's update."""
        return self._rates[self.step]

    def measures(self) -> bool:
        """Whether validation is measured at this step."""
        return self.step % self.measure_every == 0 or self.step == self.total

    def start_noise(self) -> None:
        """Starts torch's own random stream, which dropout and stochastic depth draw from, for this step."""
        self._seed_noise(self._noise_seeds[self.step])

    def start_scoring_noise(self) -> None:
        """Starts torch's own random stream for scoring at this step."""
        self._seed_noise(stream_seed(self.seed, "score", self.step))
