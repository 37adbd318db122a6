"""The control that asks whether a ticket's initial weights matter."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from lth_bench import hookimpl

if TYPE_CHECKING:
    from lth_bench.session import Session
    from lth_bench.tickets import Ticket


@dataclass(frozen=True)
class Redraw:
    """Same mask, weights drawn anew, trained from the start (Frankle & Carbin 2019, arXiv:1803.03635, section 2)."""

    def __call__(self, session: Session, ticket: Ticket) -> None:
        session.adopt(ticket.masks)
        session.redraw()
        session.train()


@hookimpl
def register_controls(register):
    register("redraw", Redraw)
