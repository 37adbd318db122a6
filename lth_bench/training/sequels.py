"""What follows the final mask, the same for every method: new statistics of batch norms, or training by a recipe."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import nn

from lth_bench.errors import Unsuitable
from lth_bench.experiments.experiment import After
from lth_bench.experiments.recipe import Recipe
from lth_bench.models.modes import fresh_statistics, tracking_norms
from lth_bench.training import state
from lth_bench.training.session import Session

IMAGES = 5000  # at most, for the statistics of batch norms
BATCH = 500  # images, fewer where the training split has fewer; a last batch of fewer is left out


def misfit(after: After, model: nn.Module) -> str:
    """Why this cannot follow a mask on this network; "" if it can."""
    if not after.batch_norm or tracking_norms(model):
        return ""
    return (
        "after = 'batch_norm' takes new running statistics of batch norms, but this network has none; leave "
        "'batch_norm' out for it, or use a network with batch norm"
    )


def require_fit(after: After, model: nn.Module) -> None:
    """Raises Unsuitable for what cannot follow a mask on this network."""
    if fault := misfit(after, model):
        raise Unsuitable(fault)


def follow(sessions: list[Session], after: After, make: Callable[[Recipe], Session]) -> None:
    """Adds a Session to those of an experiment, the finished one of its pruner, for each part of what follows.

    Such a Session comes from `make`, a new one by a recipe, and goes on from the weights, masks and channels of the one
    before. Raises Unsuitable, Interrupted and Diverged.
    """
    if after.batch_norm:
        recalibrate(_next(sessions, make(sessions[-1].recipe)))
    if after.recipe:
        _require_plain(sessions[0])
        trained = _next(sessions, make(after.recipe))
        trained.rewind_clock(0)
        trained.train()
    for session in sessions[1:]:
        session.finish()


def recalibrate(session: Session) -> None:
    """Estimates the running means and variances of all batch norms anew, under the masks in force.

    They are means over batches of BATCH training images without augmentation, IMAGES at most, drawn from a stream of
    the seed; all else computes as in evaluation.
    """
    data = session.order.data
    size = min(BATCH, len(data))
    with fresh_statistics(session.model), torch.no_grad():
        for number in range(min(IMAGES, len(data)) // size):
            batch = session.order.part(number, size, ("batch norm",))
            session.account.recalibrated(len(batch.inputs))
            session.model(batch.inputs)


def _next(sessions: list[Session], fresh: Session) -> Session:
    """Appends a new Session in the state of the last one, at its step."""
    last = sessions[-1]
    sessions.append(fresh)
    state.load(fresh.model, last.model.state_dict())
    fresh.clock.step = last.step
    fresh.course.continue_from(last.course)
    fresh.adopt(last.masks, last.channels)
    return fresh


def _require_plain(session: Session) -> None:
    """Raises Unsuitable for weights that are computed from fewer numbers, as training each by itself would undo it."""
    sizes = {name: mask.numel() for name, mask in session.masks.items()}
    if computed := [name for name, count in session.elements.items() if count < sizes[name]]:
        raise Unsuitable(
            f"the method computes the weights of {computed[0]!r} from fewer numbers, and training by a recipe after it "
            "would make them weights of their own; leave recipes out of `after` for it"
        )
