"""Early-Bird tickets: channels whose ranking by batch norm settles early in training."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING, Literal

from lth_bench import Count, Duration, Paper, Rate, hookimpl
from lth_bench.methods.sparse_training import interval_steps, update_steps
from lth_bench.methods.structured import Penalty, require_reachable, scales, train_with_penalty

if TYPE_CHECKING:
    from collections.abc import Sequence

    from torch import Tensor

    from lth_bench.training.session import Session


@dataclass(frozen=True)
class EarlyBird:
    """Train until the channels with the largest batch-norm scales hardly change, remove the others, train on.

    You et al. 2020, arXiv:1909.11957, algorithm 1: scales are trained with an L1 `penalty`; after every `interval`, a
    mask is made of the channels that would be kept, by |scale| over all layers. The search ends when the last `queue`
    distances between consecutive masks, as shares of the channels, are below `threshold`, at the latest at `latest`.
    Notes the `epoch` at which channels were removed, whether masks had `settled`, and the `distances` of consecutive
    masks.

    The authors' code compares the newest of `queue` masks with each of the others (`compared` "newest"), and keeps the
    penalty after the search (`later_penalty`).

    Deviations:
    - Channels go until the share of weights, not of channels, is reached; the best channel of each layer is kept.
    - The scales of norms that do not directly follow a prunable layer, as in preactivated residual blocks, are neither
      penalised nor ranked (the authors' code masks the output of such a norm).
    """

    title = "Early-Bird"
    family = "structured"
    paper = Paper(
        "you2020drawing",
        "Drawing Early-Bird Tickets: Towards More Efficient Training of Deep Networks",
        "Haoran You and Chaojian Li and Pengfei Xu and Yonggan Fu and Yue Wang and Xiaohan Chen and Richard "
        "G. Baraniuk and Zhangyang Wang and Yingyan Lin",
        "ICLR",
        2020,
        arxiv="1909.11957",
        code="https://github.com/RICE-EIC/Early-Bird-Tickets",
    )

    penalty: Penalty = 1e-4
    interval: Duration = Duration("1ep")
    queue: Count = 5
    threshold: Rate = 0.1
    compared: Literal["consecutive", "newest"] = "consecutive"
    latest: Duration = Duration("50%")
    later_penalty: Penalty = 0.0

    def __call__(self, session: Session) -> None:
        require_reachable(session, scales(session))
        settled = self.search(session)
        session.note("epoch", session.step / interval_steps(session, Duration("1ep")))
        session.note("settled", settled)
        session.prune_channels(scales(session))
        train_with_penalty(session, self.later_penalty)

    def search(self, session: Session) -> bool:
        """Trains until the masks have settled, at most to the latest step; returns whether they have settled."""
        masks: list[Tensor] = []
        schedule = update_steps(session, self.interval, self.latest)
        for step in (*schedule[1:], schedule.stop):
            train_with_penalty(session, self.penalty, until=step)
            masks.append(self.mask(session))
            session.note("distances", [distance(*pair) for pair in pairwise(masks)])
            if self.settled(masks):
                return True
        return False

    def mask(self, session: Session) -> Tensor:
        """A mask of the channels that would be kept now, over all layers that have scales."""
        import torch

        scores = scales(session)
        masks = session.channel_masks(scores)
        return torch.cat([masks[name] for name in scores])

    def distances(self, masks: Sequence[Tensor]) -> list[float]:
        """The distances that must be below the threshold, of masks in order of time; fewer at the start."""
        if self.compared == "newest":
            return [distance(mask, masks[-1]) for mask in masks[-self.queue : -1]]
        return [distance(*pair) for pair in pairwise(masks[-self.queue - 1 :])]

    def settled(self, masks: Sequence[Tensor]) -> bool:
        needed = self.queue - 1 if self.compared == "newest" else self.queue
        distances = self.distances(masks)
        return len(distances) == needed and max(distances, default=0.0) < self.threshold


def distance(one: Tensor, other: Tensor) -> float:
    """The share of channels on which two masks differ."""
    return (one != other).double().mean().item()


@hookimpl
def register_pruners(register):
    register("early_bird", EarlyBird)
