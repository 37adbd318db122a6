"""The course of a Session: its validation curve and best points, its ticket, and the exception that ended it."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping

from torch import Tensor, nn
from torch.nn.utils import parametrize

from lth_bench.errors import Diverged, Interrupted
from lth_bench.models.predictions import evaluate
from lth_bench.pruning import parametrisation
from lth_bench.storage.events import ExperimentMeasured, ExperimentPruned
from lth_bench.storage.record import Pruning
from lth_bench.training import state
from lth_bench.training.monitor import Measurement, Monitor
from lth_bench.training.setup import Setup
from lth_bench.training.state import Snapshot


class Course:
    """Measures a network on the validation split, and marks the ticket: the state when the final masks took force.

    `remaining` is the number of weights left in the network; `prunings` are the steps at which masks changed the number
    that they keep; `ended` is the exception that ended the Session, if any. All of it is told where somebody listens.
    """

    def __init__(self, model: nn.Module, setup: Setup, remaining: int) -> None:
        self.validation = setup.validation
        self._model, self._progress, self._tell = model, setup.progress, setup.tell
        self.monitor = Monitor()
        self.prunings: list[Pruning] = []
        self._masked, self._told = remaining, 0
        self.ticket: Snapshot | None = None
        self.ended: Interrupted | Diverged | None = None
        self.remaining = remaining

    def measure(self, step: int, batch_loss: Tensor | None, layers: Mapping[str, object]) -> None:
        """Adds a point to the curve. Raises Diverged for a loss that is not finite."""
        with parametrize.cached():
            loss, accuracy = evaluate(self._model, self.validation, self._progress)
        training_loss = None if batch_loss is None else float(batch_loss.detach())
        if not math.isfinite(loss) or not math.isfinite(training_loss or 0):
            self.ended = Diverged(step, f"training loss {training_loss}, validation loss {loss}")
            raise self.ended
        if parametrisation.parametrised(self._model):
            self.count(parametrisation.nonzero_count(state.dense(self._model), layers))
        measured = Measurement(step, self.remaining, training_loss, loss, accuracy)
        self.monitor.add(measured, lambda: state.dense(self._model))
        self.tell([measured])

    def tell(self, points: Iterable[Measurement]) -> None:
        """Tells of the points of the curve that are further on than all that were told since the clock went back."""
        if self._tell is None:
            return
        for point in points:
            if point.step > self._told:
                self._told = point.step
                self._tell(ExperimentMeasured(**point.recorded))

    def pruned(self, step: int, kept: int) -> None:
        """Notes that masks keep so many weights from a step on, where that is another number."""
        if kept == self._masked:
            return
        self._masked = kept
        self.prunings.append(Pruning(step, kept, len(self.monitor.curve)))
        if self._tell is not None:
            self._tell(ExperimentPruned(step, kept))

    def count(self, remaining: int) -> None:
        """Notes the number of weights left; another number forgets the best points, which belong to one sparsity."""
        if remaining != self.remaining:
            self.monitor.reset()
        self.remaining = remaining

    def mark_ticket(self, step: int) -> None:
        """Makes the present state the ticket, unless there is one."""
        if self.ticket is None:
            self.ticket = Snapshot(step, state.dense(self._model), None)

    def restart(self) -> None:
        """Forgets ticket and best points, because the clock goes back."""
        self.ticket, self._told = None, 0
        self.monitor.reset()

    def continue_from(self, earlier: Course) -> None:
        """Goes on where the course of another Session has ended, under the masks in force there."""
        self._masked = earlier._masked

    def check(self) -> None:
        """Raises the exception that ended the Session, if any, even if the pruner has caught it."""
        if self.ended:
            raise self.ended
