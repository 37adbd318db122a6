"""Gradual magnitude pruning: prune more and more weights while the network trains."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from lth_bench import Duration, Paper, hookimpl, magnitude
from lth_bench.methods.rounds import uniform_rounds
from lth_bench.methods.sparse_training import gradual_pruning

if TYPE_CHECKING:
    from collections.abc import Sequence

    from lth_bench.training.session import Session


@dataclass(frozen=True)
class GMP:
    """Train, and prune the smallest weights of every layer by a schedule that is steep at first and flat at the end.

    Zhu & Gupta 2017, arXiv:1710.01878, equation 1, with an initial sparsity of zero: pruning is due at every `interval`
    after `begin` and for the last time at `end`; training goes on after that. The default spans are those of the
    CIFAR-10 experiments in Evci et al. 2020, arXiv:1911.11134; the paper has none for these recipes. `scope` "global"
    ranks the weights of all layers together. Every layer keeps the nearest number of weights, as in the authors' code.

    Deviations:
    - Every prunable layer is pruned (the paper leaves some dense, by architecture).
    - A pruned weight is zero and stays zero (in the authors' code it keeps its value and may come back).
    """

    title = "GMP"
    family = "during training"
    paper = Paper(
        "zhu2017prune",
        "To prune, or not to prune: exploring the efficacy of pruning for model compression",
        "Michael Zhu and Suyog Gupta",
        "arXiv",
        2017,
        arxiv="1710.01878",
    )

    begin: Duration = Duration("20%")
    end: Duration = Duration("75%")
    interval: Duration = Duration("100it")
    scope: Literal["layer", "global"] = "layer"

    def __call__(self, session: Session) -> None:
        schedule = gradual_pruning(session, (self.begin, self.end), self.interval)
        targets = self.targets(session, [schedule.sparsity(step) for step in schedule.steps])
        for step, target in zip(schedule.steps, targets, strict=True):
            session.train(until=step)
            session.prune(magnitude(session), target)
        session.train()

    def targets(self, session: Session, sparsities: list[float]) -> Sequence[float | dict[str, float]]:
        return sparsities if self.scope == "global" else uniform_rounds(session.shapes, sparsities)


@hookimpl
def register_pruners(register):
    register("gmp", GMP)
