"""The validation curve, and the weights at its best points."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from torch import Tensor

State = dict[str, Tensor]


@dataclass(frozen=True)
class Measurement:
    """One point of the curve: losses in nats (training: of the last batch), accuracy in [0, 1]."""

    step: int
    kept: int
    training_loss: float | None
    validation_loss: float
    validation_accuracy: float


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

    def reset(self) -> None:
        self.accurate = self.early_stop = None

    def add(self, measured: Measurement, state: Callable[[], State]) -> None:
        """Adds a point; `state` is called only when it is the best so far."""
        self.curve.append(measured)
        best, stop = self.accurate, self.early_stop
        if best is None or measured.validation_accuracy > best.measurement.validation_accuracy:
            self.accurate = Best(measured, state())
        if stop is None or measured.validation_loss < stop.measurement.validation_loss:
            self.early_stop = Best(measured, state())
