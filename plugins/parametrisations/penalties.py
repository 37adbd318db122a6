"""Penalties in the training loss that set in gradually."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated

from annotated_types import Ge

from lth_bench import Duration

if TYPE_CHECKING:
    from torch import Tensor, nn

    from lth_bench.training.session import Session

Coefficient = Annotated[float, Ge(0)]
"""The factor of a penalty in the loss."""


@dataclass(frozen=True)
class Ramp:
    """The share of a penalty that is in force: 0 up to the step `begin`, rising linearly to 1 at `end`."""

    begin: int
    end: int

    def share(self, step: int) -> float:
        if step >= self.end:
            return 1.0
        return 0.0 if step <= self.begin else (step - self.begin) / (self.end - self.begin)


def ramp(session: Session, begin: Duration, end: Duration) -> Ramp:
    """The ramp between two durations. Raises Unsuitable for one that does not fit the training."""
    from lth_bench import Unsuitable

    first, last = (session.steps(duration) for duration in (begin, end))
    if not first <= last <= session.total_steps:
        raise Unsuitable(
            f"the penalty sets in from {begin!r} to {end!r}, that is from step {first} to step {last} of "
            f"{session.total_steps}; it has to begin before it is at its full, and to be that before training ends"
        )
    return Ramp(first, last)


def train(session: Session, penalty: Callable[[], Tensor]) -> None:
    """Trains to the recipe's end with a penalty added to the loss."""
    for batch in session.batches():
        (session.loss(batch) + penalty()).backward()
        session.update()


def exempt(session: Session, parameters: Iterable[nn.Parameter]) -> None:
    """Exempts parameters from the recipe's weight decay; for after parametrisation, before the first update."""
    from lth_bench.training.optimizers import make_optimizer

    optimizer = make_optimizer(session.recipe, session.model)
    exempted = {id(parameter) for parameter in parameters}
    for group in list(optimizer.param_groups):
        spared = [parameter for parameter in group["params"] if id(parameter) in exempted]
        group["params"] = [parameter for parameter in group["params"] if id(parameter) not in exempted]
        if spared:
            optimizer.add_param_group({**group, "params": spared, "weight_decay": 0.0})
    optimizer.param_groups = [group for group in optimizer.param_groups if group["params"]]
    session.optimizer = optimizer
