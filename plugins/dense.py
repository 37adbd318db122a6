"""Training without pruning: what every method is compared with."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from lth_bench import hookimpl

if TYPE_CHECKING:
    from lth_bench.session import Session


@dataclass(frozen=True)
class Dense:
    """Train the whole network; ask for sparsity 0."""

    def __call__(self, session: Session) -> None:
        session.train()


@hookimpl
def register_pruners(register):
    register("dense", Dense)
