"""The control that asks whether it matters which weights of a layer a ticket keeps."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from lth_bench import hookimpl
from lth_bench.methods.controls import check_moved, check_ticket, scattered, train_dense, train_on
from lth_bench_plugins.papers import FRANKLE_2021

if TYPE_CHECKING:
    from lth_bench import Base, Session


@dataclass(frozen=True)
class Shuffle:
    """The mask permuted within every layer, on the dense weights of the ticket's step (Frankle et al. 2021).

    arXiv:2009.08576: each layer keeps as many weights as in the ticket, but others; of a ticket of channels, other
    channels. Kept weights have the values of the dense network at the ticket's step: the initial ones, those that the
    pruner rewinds to, or the trained ones before fine-tuning. A ticket that does not start from the weights of the
    dense network is refused: its mask could not be moved without changing its weights too.
    """

    family = "control"
    paper = FRANKLE_2021

    question = "Does it matter which weights of a layer are kept?"

    def __call__(self, session: Session, base: Base) -> None:
        check_ticket(base.ticket)
        train_dense(session, base.ticket)
        masks, channels = scattered(session, base.ticket, "shuffle")
        check_moved(masks, base.ticket, "so few weights are pruned that the random mask is the same; try another seed")
        session.adopt(masks, channels)
        train_on(session, base.ticket)


@hookimpl
def register_controls(register):
    register("shuffle", Shuffle)
