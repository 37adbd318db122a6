"""The control that asks whether a pruner's scores matter."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from lth_bench import hookimpl
from lth_bench.methods.controls import check_moved, check_ticket
from lth_bench_plugins.papers import FRANKLE_2021

if TYPE_CHECKING:
    from lth_bench import Base, Session


@dataclass(frozen=True)
class Invert:
    """The pruner once more, keeping the lowest scores wherever it keeps the highest (Frankle et al. 2021).

    arXiv:2009.08576, "inversion". It searches anew and reads no ticket.

    Deviations:
    - Of methods that prune by scores and also replace masks during training, only the pruning is inverted.
    """

    family = "control"
    paper = FRANKLE_2021

    question = "Does the score matter?"
    reads_ticket = False

    def __call__(self, session: Session, base: Base) -> None:
        check_ticket(base.ticket)
        with session.inverted():
            base.pruner(session)
        check_moved(session.masks, base.ticket, "the pruner keeps no highest scores; leave this control out for it")


@hookimpl
def register_controls(register):
    register("invert", Invert)
