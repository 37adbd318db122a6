"""MEST: sparse training whose weights are pruned and grown at random, fewer and fewer of them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Annotated, Literal

from annotated_types import Ge

from lth_bench import Duration, Paper, Rate, chance, hookimpl, magnitude
from lth_bench.methods.sparse_training import (
    Distribution,
    dropped,
    evolve_after_updates,
    grown,
    layer_sparsities,
    update_steps,
)
from lth_bench.pruning.allocation import kept_count, sizes_of

if TYPE_CHECKING:
    from torch import Tensor

    from lth_bench.pruning.masks import Masks, Scores
    from lth_bench.training.session import Session


Counts = Mapping[str, int]


@dataclass(frozen=True)
class MEST:
    """Start from a sparse network; at intervals, prune the weights of least importance and grow others at random.

    Yuan et al. 2021, arXiv:2110.14032: elastic mutation (EM). At every `interval` before `until`, the share `mutation`
    of each layer's weights, half of it from `halved` on, is pruned by magnitude plus `gradients` (the paper's λ) times
    the gradient's magnitude in the last update; as many are grown, from zero. With a soft memory `bound` (EM&S), as
    many are grown beyond the target, and pruned at the next change; from `until` on, the target holds. The defaults are
    those of the authors' code (λ of 0) and scripts for CIFAR-10 at 90 % (92, 91 and 90 % from epochs 0, 90 and 120 of
    160, every 5 epochs). As there, the first network keeps each layer's largest initial weights. The share of weights
    that were ever active is noted as `explored`.

    Deviations:
    - Every prunable layer is pruned, by `distribution` (the authors leave the first and the last layer dense).
    - Numbers of weights are exact (in the authors' code they follow from a percentile, and differ by one or two).
    - The topology does not change before the first step (in the authors' code it does, and new weights start at zero).
    - With λ above zero, gradients count (in the authors' training script they are cleared before they are read).
    """

    title = "MEST"
    family = "dynamic"
    paper = Paper(
        "yuan2021mest",
        "MEST: Accurate and Fast Memory-Economic Sparse Training Framework on the Edge",
        "Geng Yuan and Xiaolong Ma and Wei Niu and Zhengang Li and Zhenglun Kong and Ning Liu and Yifan Gong and Zheng "
        "Zhan and Chaoyang He and Qing Jin and Siyue Wang and Minghai Qin and Bin Ren and Yanzhi Wang and Sijia Liu "
        "and Xue Lin",
        "NeurIPS",
        2021,
        arxiv="2110.14032",
        code="https://github.com/boone891214/MEST",
    )

    distribution: Distribution = "uniform"
    bound: Literal["hard", "soft"] = "hard"
    interval: Duration = Duration("3.125%")
    mutation: Rate = 0.2
    halved: Duration = Duration("56.25%")
    until: Duration = Duration("75%")
    gradients: Annotated[float, Ge(0)] = 0.0

    def __call__(self, session: Session) -> None:
        updates, end = update_steps(session, self.interval, self.until)[1:], self.end(session)
        spread = layer_sparsities(session, self.distribution, session.sparsity)
        targets = {name: kept_count(spread[name], size) for name, size in sizes_of(session.shapes).items()}

        def rewired(growth: Scores) -> Masks:
            least, most = self.counts(session, targets)
            session.rewire(pruned(session.masks, self.importance(session), least))
            return regrown(session.masks, growth, most)

        session.adopt(pruned(session.masks, magnitude(session), self.counts(session, targets)[1]))
        evolve_after_updates(session, sorted({*updates, end}), partial(chance, session), rewired)

    def counts(self, session: Session, targets: Counts) -> tuple[Counts, Counts]:
        """Of each layer's weights, how many a change at the present step leaves when it prunes, and when it grows."""
        sizes, rate = sizes_of(session.shapes), self.rate(session)
        changed = {name: int(rate * target) for name, target in targets.items()}
        if self.bound == "hard":
            return {name: target - changed[name] for name, target in targets.items()}, targets
        return targets, {name: min(sizes[name], target + changed[name]) for name, target in targets.items()}

    def rate(self, session: Session) -> float:
        """The share of the target that a change at the present step exchanges."""
        if session.step >= self.end(session):
            return 0.0
        return self.mutation / 2 if session.step >= session.steps(self.halved) else self.mutation

    def end(self, session: Session) -> int:
        return min(session.steps(self.until), session.total_steps)

    def importance(self, session: Session) -> dict[str, Tensor]:
        """By layer, magnitudes and, by their share, those of the gradients of the last update."""
        return {name: w.detach().abs() + self.gradients * w.grad.abs() for name, w in session.weights.items()}


def pruned(masks: Masks, importance: Scores, counts: Counts) -> Masks:
    """Masks of so many weights of each layer, those of most importance."""
    return {n: dropped(mask, importance[n], int(mask.count_nonzero()) - counts[n]) for n, mask in masks.items()}


def regrown(masks: Masks, growth: Scores, counts: Counts) -> Masks:
    """Masks of so many weights of each layer, with those of the highest scores among the pruned ones."""
    return {n: grown(mask, growth[n], counts[n] - int(mask.count_nonzero())) for n, mask in masks.items()}


@hookimpl
def register_pruners(register):
    register("mest", MEST)
