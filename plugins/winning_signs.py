"""The control that asks whether a ticket's mask and the signs of its trained weights suffice."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from lth_bench import Paper, hookimpl
from lth_bench.methods.controls import check_changed, check_ticket

if TYPE_CHECKING:
    from torch import Tensor

    from lth_bench import Base, Session


@dataclass(frozen=True)
class WinningSigns:
    """The ticket's mask and the signs of its trained weights on new random magnitudes, trained anew (Oh et al. 2025).

    arXiv:2504.05357: a random network inherits a signed mask. Weights and biases of masked layers take the signs that
    they have at the end of the ticket's training; norm layers start as they are initialised.

    Deviations:
    - The signed mask is that of the row's method; the authors' comes from a search of their own: learning rate
      rewinding that draws scales and shifts of norm layers at random between their values and the initial ones.
    - The output layer is under the mask where the method prunes it.
    """

    family = "control"
    paper = Paper(
        "oh2025find",
        "Find A Winning Sign: Sign Is All We Need to Win the Lottery",
        "Junghun Oh and Sungyong Baik and Kyoung Mu Lee",
        "ICLR",
        2025,
        arxiv="2504.05357",
        code="https://github.com/JungHunOh/AWS_ICLR2025",
    )

    question = "Do the initial weights matter, beside the signs of the trained ones?"

    def __call__(self, session: Session, base: Base) -> None:
        from lth_bench.training.state import Snapshot

        ticket = base.ticket
        check_ticket(ticket)
        session.adopt(ticket.masks, ticket.channels)
        session.redraw()
        drawn = session.snapshot().state
        session.rewind(Snapshot(0, {**drawn, **self.signed(drawn, base)}, None))
        check_changed(session, ticket.start, "the model draws the same weights for every seed; take another model")
        check_changed(session, drawn, "the new weights have these signs already; try another seed")
        session.train()

    def signed(self, drawn: dict[str, Tensor], base: Base) -> dict[str, Tensor]:
        """Drawn weights and biases of the masked layers with the signs of the trained ones."""
        biases = [f"{name.removesuffix('weight')}bias" for name in base.ticket.masks]
        names = [*base.ticket.masks, *(name for name in biases if name in drawn)]
        return {name: drawn[name].abs() * base.ticket.final[name].sign().to(drawn[name].device) for name in names}


@hookimpl
def register_controls(register):
    register("winning_signs", WinningSigns)
