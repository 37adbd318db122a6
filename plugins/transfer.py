"""The control that trains a ticket on other data or by another recipe than those it was found with."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from lth_bench import Paper, hookimpl
from lth_bench.methods.controls import check_ticket, start_from, train_on

if TYPE_CHECKING:
    from lth_bench import Base, Session


@dataclass(frozen=True)
class Transfer:
    """Mask and weights of a ticket, trained on other data or by another recipe (Morcos et al. 2019, arXiv:1906.02773).

    The suite says where the ticket was found (`found_on`, `found_with`); without that, the ticket is trained again on
    its own data by its own recipe. A ticket of a later step starts at that step of the new recipe. An output layer for
    another number of classes gets new weights and a random mask that meets the target, unless the model keeps it dense.

    Deviations:
    - The optimiser starts with an empty state, since a ticket holds none.
    """

    family = "control"
    paper = Paper(
        "morcos2019one",
        "One ticket to win them all: generalizing lottery ticket initializations across datasets and optimizers",
        "Ari S. Morcos and Haonan Yu and Michela Paganini and Yuandong Tian",
        "NeurIPS",
        2019,
        arxiv="1906.02773",
    )

    def __call__(self, session: Session, base: Base) -> None:
        check_ticket(base.ticket)
        start_from(session, base.ticket, {})
        train_on(session, base.ticket)


@hookimpl
def register_controls(register):
    register("transfer", Transfer)
