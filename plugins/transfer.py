"""A ticket trained as it is, on other data or by another recipe than those it was found with."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from lth_bench import hookimpl
from lth_bench.methods.controls import check_ticket, start_from, train_on

if TYPE_CHECKING:
    from lth_bench import Base, Session


@dataclass(frozen=True)
class Transfer:
    """Mask and weights of a ticket, trained elsewhere (Morcos et al. 2019, arXiv:1906.02773).

    The suite says where the ticket was found (`found_on`, `found_with`); if it does not, the ticket is trained again
    where it is from. A ticket of a later step starts at that step of the recipe here. An output layer for another
    number of classes has fresh weights and a random mask that meets the target, unless the model keeps it dense.

    Deviations: a ticket holds no optimiser state, so that the optimiser starts empty.
    """

    def __call__(self, session: Session, base: Base) -> None:
        check_ticket(base.ticket)
        start_from(session, base.ticket, {})
        train_on(session, base.ticket)


@hookimpl
def register_controls(register):
    register("transfer", Transfer)
