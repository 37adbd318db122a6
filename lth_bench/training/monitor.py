"""The validation curve, and the weights at its best points."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from lth_bench.storage.tensors import State


@dataclass(frozen=True)
class Measurement:
    """One point of the curve: losses in nats (training: of the last batch), accuracy in [0, 1]."""

    step: int
    kept: int
    training_loss: float | None
    validation_loss: float
    validation_accuracy: float

    @property
    def recorded(self) -> dict[str, Any]:
        """The values as a record holds them: losses and accuracy to six digits."""
        return {name: _six_digits(value) for name, value in vars(self).items()}


@dataclass(frozen=True)
class Best:
    """The measurement at which a criterion was best, and the weights and buffers at that step."""

    measurement: Measurement
    state: State


class Monitor:
    """Keeps the curve, and the best points since the last reset."""

    def __init__(self) -> None:
        self.curve: list[Measurement] = []
        self.accurate: Best | None = None
        self.early_stop: Best | None = None
        self.resets = 0

    def reset(self) -> None:
        self.accurate = self.early_stop = None
        self.resets += 1

    def add(self, measured: Measurement, state: Callable[[], State]) -> None:
        """Adds a point; `state` is called only when it is the best so far."""
        self.curve.append(measured)
        if self.accurate is None or _more_accurate(measured, self.accurate.measurement):
            self.accurate = Best(measured, state())
        if self.early_stop is None or _lower(measured, self.early_stop.measurement):
            self.early_stop = Best(measured, state())

    def extend(self, later: Monitor, after: int) -> None:
        """Adds what was measured after a step, as if it had been added point by point."""
        self.curve += [point for point in later.curve if point.step > after]
        best, stop = later.accurate, later.early_stop
        if best and (self.accurate is None or _more_accurate(best.measurement, self.accurate.measurement)):
            self.accurate = best
        if stop and (self.early_stop is None or _lower(stop.measurement, self.early_stop.measurement)):
            self.early_stop = stop


def _six_digits(value: float | None) -> float | None:
    return float(f"{value:.6g}") if isinstance(value, float) else value


def _more_accurate(one: Measurement, other: Measurement) -> bool:
    return one.validation_accuracy > other.validation_accuracy


def _lower(one: Measurement, other: Measurement) -> bool:
    return one.validation_loss < other.validation_loss
