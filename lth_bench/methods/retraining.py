"""Retraining after pruning: the three ways of Renda et al. 2020 (arXiv:2003.02389), and training from scratch."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from collections.abc import Callable

    from lth_bench.experiments.durations import Duration
    from lth_bench.training.session import Session
    from lth_bench.training.state import Snapshot

Retraining = Literal["weight_rewinding", "learning_rate_rewinding", "fine_tuning"]

RetrainingOrScratch = Literal[Retraining, "scratch_e", "scratch_b"]
"""The same, or from scratch: for as many steps, or for as many FLOPs (Liu et al. 2019, arXiv:1810.05270)."""

RetrainingOrNone = Literal[Retraining, "none"]
"""The same, or none: the network stays as it is after pruning."""

LONGEST = 2.0  # times the recipe's length, the limit of Liu et al. on ImageNet


def require_learning_rate(session: Session, how: RetrainingOrScratch) -> None:
    """Raises Unsuitable where fine-tuning would have a learning rate of zero; to be called before training."""
    from lth_bench.errors import Unsuitable

    if how == "fine_tuning" and session.schedule.vanishes:
        raise Unsuitable(
            f"fine-tuning goes on at the last learning rate, and that of a {session.recipe.schedule} schedule is zero; "
            f'retrain by "learning_rate_rewinding" or "weight_rewinding", or train by another schedule'
        )


def retrain(session: Session, start: Snapshot, how: RetrainingOrScratch) -> None:
    """Trains for as many steps as lie between `start` and the recipe's end, or from scratch.

    "weight_rewinding" goes back to `start` in weights and clock, "learning_rate_rewinding" in the clock alone;
    "fine_tuning" goes on at the last learning rate. "scratch_e" trains new random weights for the whole recipe,
    "scratch_b" for a recipe longer by the factor that pruning saves in a pass, at most LONGEST; the factor is noted as
    `stretched`.
    """
    if how == "scratch_b":
        _stretch(session)
    if how in ("scratch_e", "scratch_b"):
        session.redraw()
        session.train()
        return
    if how == "fine_tuning":
        session.train(until=session.step + session.total_steps - start.step)
        return
    if how == "weight_rewinding":
        session.rewind(start)
    else:
        session.rewind_clock(start.step)
    session.train()


def prune_trained(session: Session, prune: Callable[[], None], how: RetrainingOrNone, rewind_to: Duration) -> None:
    """Trains, prunes by `prune` and, unless `how` is "none", retrains from `rewind_to` on, as `retrain` does."""
    if how == "none":
        session.train()
        prune()
        return
    require_learning_rate(session, how)
    session.train(until=rewind_to)
    start = session.snapshot()
    session.train()
    prune()
    retrain(session, start, how)


def _stretch(session: Session) -> None:
    """Makes the recipe longer, so that training takes as many FLOPs as training the dense network."""
    from lth_bench.pruning.masks import full

    factor = min(LONGEST, session.flops(full(session.weights)) / max(1.0, session.flops(session.masks)))
    session.stretch(factor)
    session.note("stretched", factor)
