"""The control that asks whether a ticket's mask fits other initial weights once hidden units are in their order."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from lth_bench import Paper, hookimpl
from lth_bench.methods.controls import check_changed, check_moved, check_ticket, train_dense, train_on

if TYPE_CHECKING:
    from lth_bench import Base, Session


@dataclass(frozen=True)
class Aligned:
    """The mask with its hidden units in the order of another network, which is trained from there (Adnan et al. 2025).

    arXiv:2505.05143, section 3. The dense network is trained from the ticket's initial weights and from new ones. The
    hidden units of the first are permuted to match those of the second, and the mask with them; the second network is
    trained under this mask from the ticket's step.

    Deviations:
    - Units are matched by weights at the end of both trainings (Ainsworth et al. 2023, arXiv:2209.04836, algorithm 1),
      not by activations as in the authors' code.
    - Both trainings see the examples in the same order.
    """

    family = "control"
    paper = Paper(
        "adnan2025sparse",
        "Sparse Training from Random Initialization: Aligning Lottery Ticket Masks using Weight Symmetry",
        "Mohammed Adnan and Rohan Jain and Ekansh Sharma and Rahul Krishnan and Yani Ioannou",
        "ICML",
        2025,
        arxiv="2505.05143",
        code="https://github.com/calgaryml/sparse-rebasin",
    )

    question = "Do the initial weights matter, beside the order of hidden units?"

    def __call__(self, session: Session, base: Base) -> None:
        from lth_bench.pruning.alignment import likeness, matched
        from lth_bench.pruning.hidden_units import hidden_units, permuted
        from lth_bench.randomness import generator

        ticket = base.ticket
        check_ticket(ticket)
        with session.account.unmetered():
            units = hidden_units(session.model, session.input_shape)
        before = {name: weight.detach().clone() for name, weight in session.weights.items()}
        train_dense(session, ticket)
        session.train()
        donor = session.snapshot().state
        session.redraw()
        check_changed(session, before, "the model draws the same weights for every seed; take another model")
        session.train(until=ticket.step)
        start = session.snapshot()
        session.train()
        end = session.snapshot().state
        orders = matched(units, donor, end, generator(session.seed, "alignment"))
        session.note("likeness", [likeness(units, state, end) for state in (donor, permuted(donor, units, orders))])
        masks = permuted(ticket.masks, units, orders)
        check_moved(masks, ticket, "the two networks have their hidden units in one order; try another seed")
        session.adopt(masks, permuted({**ticket.channels}, units, orders))
        session.rewind(start)
        train_on(session, ticket)


@hookimpl
def register_controls(register):
    register("aligned", Aligned)
