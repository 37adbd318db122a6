"""The course of a Session: its validation curve and best points, its ticket, and the exception that ended it."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping

from torch import Tensor, nn
from torch.nn.utils import parametrize

from lth_bench.data.examples import Source
from lth_bench.errors import Diverged, Interrupted
from lth_bench.models.predictions import evaluate
from lth_bench.pruning import parametrisation
from lth_bench.training import state
from lth_bench.training.monitor import Measurement, Monitor
from lth_bench.training.state import Snapshot


class Course:
    """Measures a network on the validation split, and marks the ticket: the state when the final masks took force.

    `remaining` is the number of weights left in the network; `ended` is the exception that ended the Session, if any.
    """

    def __init__(self, model: nn.Module, validation: Source, progress: Callable[[], None], remaining: int) -> None:
        self.validation = validation
        self._model, self._progress = model, progress
        self.monitor = Monitor()
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
        self.ticket = None
        self.monitor.reset()

    def check(self) -> None:
        """Raises the exception that ended the Session, if any, even if the pruner has caught it."""
        if self.ended:
            raise self.ended
