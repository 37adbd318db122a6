"""A pruner as a third party would publish it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from lth_bench import hookimpl

if TYPE_CHECKING:
    from lth_bench import Session


@dataclass(frozen=True)
class Positive:
    """Keep the weights that are largest with their sign, then train."""

    scale: float = 1.0

    def __call__(self, session: Session) -> None:
        session.prune({name: self.scale * weight.detach() for name, weight in session.weights.items()})
        session.train()


@hookimpl
def register_pruners(register):
    register("positive", Positive)
