"""The control that asks whether a ticket's initial weights matter."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from lth_bench import hookimpl
from lth_bench.methods.controls import check_changed, check_ticket
from lth_bench_plugins.papers import FRANKLE_2019

if TYPE_CHECKING:
    from lth_bench import Base, Session


@dataclass(frozen=True)
class Redraw:
    """The ticket's mask on new random weights, trained anew (Frankle & Carbin 2019, arXiv:1803.03635, section 2)."""

    family = "control"
    paper = FRANKLE_2019

    question = "Do the initial weights matter?"
    is_rival = True

    def __call__(self, session: Session, base: Base) -> None:
        check_ticket(base.ticket)
        before = {name: weight.detach().clone() for name, weight in session.weights.items()}
        session.adopt(base.ticket.masks, base.ticket.channels)
        session.redraw()
        check_changed(session, before, "the model draws the same weights for every seed; take another model")
        session.train()


@hookimpl
def register_controls(register):
    register("redraw", Redraw)
