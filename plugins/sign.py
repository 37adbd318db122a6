"""The control that asks whether the magnitudes of a ticket's weights matter beside their signs."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from lth_bench import hookimpl
from lth_bench.methods.controls import check_changed, check_ticket, start_from, train_on
from lth_bench_plugins.papers import ZHOU_2019

if TYPE_CHECKING:
    from torch import Tensor

    from lth_bench import Base, Session


@dataclass(frozen=True)
class Sign:
    """The ticket's mask and signs with other magnitudes (Zhou et al. 2019, arXiv:1905.01067, on signs).

    The weights that the ticket starts from keep their sign. `magnitudes` sets all of a layer to the standard deviation
    of its initial weights ("constant"), or takes those of new random weights ("redrawn").

    Deviations:
    - The standard deviation is that of the drawn weights, not that of the distribution they are drawn from.
    """

    family = "control"
    paper = ZHOU_2019

    question = "Do the sizes of the initial weights matter, beside their signs?"

    magnitudes: Literal["constant", "redrawn"] = "constant"

    def __call__(self, session: Session, base: Base) -> None:
        ticket = base.ticket
        check_ticket(ticket)
        sizes = self.sizes(session)
        weights = {name: size * ticket.start[name].sign().to(size.device) for name, size in sizes.items()}
        start_from(session, ticket, weights)
        check_changed(session, ticket.start, "they have these magnitudes already; choose other magnitudes")
        train_on(session, ticket)

    def sizes(self, session: Session) -> dict[str, Tensor]:
        """Magnitudes for all prunable weights; may change the weights of the Session."""
        if self.magnitudes == "constant":
            return {name: weight.detach().std(correction=0) for name, weight in session.weights.items()}
        session.redraw()
        return {name: weight.detach().abs() for name, weight in session.weights.items()}


@hookimpl
def register_controls(register):
    register("sign", Sign)
