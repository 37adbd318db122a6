"""Training without pruning, the baseline of every method."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from lth_bench import hookimpl

if TYPE_CHECKING:
    from lth_bench.training.session import Session


@dataclass(frozen=True)
class Dense:
    """Train the whole network; takes sparsity 0 alone."""

    title = "dense"

    def __call__(self, session: Session) -> None:
        from lth_bench import Unsuitable

        if session.sparsity:
            raise Unsuitable(f"dense prunes nothing, and a sparsity of {session.sparsity} is asked for; ask for 0")
        session.train()


@hookimpl
def register_pruners(register):
    register("dense", Dense)
