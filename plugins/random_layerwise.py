"""The control that asks whether a ticket is worth more than its sparsities by layer."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from lth_bench import Paper, hookimpl
from lth_bench.methods.controls import check_moved, check_ticket, scattered

if TYPE_CHECKING:
    from lth_bench import Base, Session


@dataclass(frozen=True)
class RandomLayerwise:
    """A random mask of the ticket's sparsity in every layer, at initialisation (Su et al. 2020, arXiv:2009.11094).

    "Random tickets": each layer keeps as many weights, or channels, as in the ticket, and nothing else of it remains.
    Training starts from the initial weights, whatever the ticket starts from.
    """

    family = "control"
    paper = Paper(
        "su2020sanity",
        "Sanity-Checking Pruning Methods: Random Tickets can Win the Jackpot",
        "Jingtong Su and Yihang Chen and Tianle Cai and Tianhao Wu and Ruiqi Gao and Liwei Wang and Jason D. Lee",
        "NeurIPS",
        2020,
        arxiv="2009.11094",
        code="https://github.com/JingtongSu/sanity-checking-pruning",
    )

    question = "Is the mask worth more than its sparsities by layer?"

    def __call__(self, session: Session, base: Base) -> None:
        check_ticket(base.ticket)
        masks, channels = scattered(session, base.ticket, "random_layerwise")
        check_moved(masks, base.ticket, "so few weights are pruned that the random mask is the same; try another seed")
        session.adopt(masks, channels)
        session.train()


@hookimpl
def register_controls(register):
    register("random_layerwise", RandomLayerwise)
