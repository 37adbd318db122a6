"""One-shot magnitude pruning, before or after training."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from lth_bench import Duration, Paper, Rate, Retraining, Share, hookimpl, layer_rates, layerwise, magnitude, retrain
from lth_bench.methods.retraining import require_learning_rate

if TYPE_CHECKING:
    from lth_bench.training.session import Session


@dataclass(frozen=True)
class Magnitude:
    """Keep the largest weights, once: of the untrained network, or of the trained one, which is then retrained.

    `retraining` goes back to the weights at `rewind_to` (by default the initial ones), goes back to the learning rate
    of that step, or takes as many steps at the last learning rate (Renda et al. 2020, arXiv:2003.02389). `scope`
    "global" ranks the weights of the whole network, "layer" those of each layer; the sparsities of layers are then
    those of layer-wise IMP with the same `rate` and `output_rate`.
    """

    title = "magnitude"
    paper = Paper(
        "renda2020comparing",
        "Comparing Rewinding and Fine-tuning in Neural Network Pruning",
        "Alex Renda and Jonathan Frankle and Michael Carbin",
        "ICLR",
        2020,
        arxiv="2003.02389",
        code="https://github.com/lottery-ticket/rewinding-iclr20-public",
    )

    @property
    def family(self):
        return "before training" if self.prune_at == "initialisation" else "after training"

    prune_at: Literal["initialisation", "end"] = "end"
    retraining: Retraining = "fine_tuning"
    rewind_to: Duration = Duration("0it")
    scope: Literal["global", "layer"] = "global"
    rate: Rate = 0.2
    output_rate: Share | None = None

    def __call__(self, session: Session) -> None:
        if self.prune_at == "initialisation":
            session.prune(magnitude(session), self.target(session))
            session.train()
            return
        require_learning_rate(session, self.retraining)
        session.train(until=self.rewind_to)
        start = session.snapshot()
        session.train()
        session.prune(magnitude(session), self.target(session))
        retrain(session, start, self.retraining)

    def target(self, session: Session) -> float | dict[str, float]:
        if self.scope == "global":
            return session.sparsity
        rates = layer_rates(session, self.rate, self.output_rate)
        return layerwise(session.shapes, session.sparsity, rates)


@hookimpl
def register_pruners(register):
    register("magnitude", Magnitude)
