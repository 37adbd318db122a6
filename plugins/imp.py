"""Iterative magnitude pruning: the lottery-ticket search with reset, rewinding or fine-tuning."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from lth_bench import (
    Duration,
    Rate,
    Retraining,
    Share,
    global_rounds,
    hookimpl,
    layer_rates,
    layerwise_rounds,
    magnitude,
    retrain,
)
from lth_bench.methods.retraining import require_learning_rate
from lth_bench_plugins.papers import FRANKLE_2019

if TYPE_CHECKING:
    from collections.abc import Sequence

    from lth_bench.training.session import Session


@dataclass(frozen=True)
class IMP:
    """Train, prune the smallest weights, go back, and repeat up to the target sparsity.

    Frankle & Carbin 2019, arXiv:1803.03635 (reset: `rewind_to` "0it"; `scope` "layer" with the output layer at half
    the rate); Frankle et al. 2020, arXiv:1912.05671 (rewinding to an early step; `scope` "global"); Renda et al. 2020,
    arXiv:2003.02389 (the other two ways of `retraining`). Round n keeps the share (1 - rate)^n of the weights; the last
    round is trimmed to the target.

    Deviations:
    - A round keeps its share to one weight, and so the same number on the way to every target (the authors' codes prune
      one or two weights more in each round, so that after many rounds up to 2 / rate weights fewer remain).
    """

    title = "IMP"
    family = "after training"
    paper = FRANKLE_2019

    rate: Rate = 0.2
    rewind_to: Duration = Duration("0it")
    retraining: Retraining = "weight_rewinding"
    scope: Literal["global", "layer"] = "global"
    output_rate: Share | None = None

    def __call__(self, session: Session) -> None:
        require_learning_rate(session, self.retraining)
        session.train(until=self.rewind_to)
        start = session.snapshot()
        session.train()
        for target in self.targets(session):
            session.prune(magnitude(session), target)
            retrain(session, start, self.retraining)

    def targets(self, session: Session) -> Sequence[float | dict[str, float]]:
        if self.scope == "global":
            return global_rounds(session.sparsity, self.rate)
        rates = layer_rates(session, self.rate, self.output_rate)
        return layerwise_rounds(session.shapes, session.sparsity, rates)


@hookimpl
def register_pruners(register):
    register("imp", IMP)
