"""What follows a pruning step: the three ways of Renda et al. 2020 (arXiv:2003.02389)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from lth_bench.session import Session, Snapshot

Retraining = Literal["weight_rewinding", "learning_rate_rewinding", "fine_tuning"]


def retrain(session: Session, start: Snapshot, how: Retraining) -> None:
    """Trains for as many steps as lie between `start` and the recipe's end.

    "weight_rewinding" goes back to `start` in weights and clock, "learning_rate_rewinding" in the clock alone;
    "fine_tuning" goes on at the last learning rate.
    """
    if how == "fine_tuning":
        session.train(until=session.step + session.total_steps - start.step)
        return
    if how == "weight_rewinding":
        session.rewind(start)
    else:
        session.rewind_clock(start.step)
    session.train()
