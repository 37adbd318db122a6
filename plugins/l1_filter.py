"""Filter pruning by L1 norm."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from lth_bench import Duration, Paper, hookimpl, retrain
from lth_bench.methods.retraining import RetrainingOrScratch, require_learning_rate
from lth_bench.methods.structured import Branches, Layers, filter_layers, filter_norms, ranks, require_reachable

if TYPE_CHECKING:
    from torch import Tensor

    from lth_bench.training.session import Session


@dataclass(frozen=True)
class L1Filter:
    """Train, remove the filters with the smallest sum of absolute weights, the same share in every layer, train again.

    Li et al. 2017, arXiv:1608.08710, section 3.1. As there, filters whose outputs are added to others are kept, so that
    only the first convolution of a residual block (of a bottleneck, the first two) is pruned; `branches` "all" prunes
    the others too. `layers` "all" prunes neurons of hidden linear layers by the same rule. "fine_tuning" takes as many
    steps as training takes from `rewind_to` on, by default a quarter, as in the paper; the other ways of `retraining`
    are those of Renda et al. 2020, arXiv:2003.02389, and "scratch_e" and "scratch_b" of Liu et al. 2019,
    arXiv:1810.05270: the remaining channels get new random weights and are trained for as many steps, or for as many
    FLOPs but at most twice as many steps.

    Deviations:
    - The share is the same in all layers, such that the target is met (the paper chooses it by stage, and does not
      prune layers that it finds sensitive).
    """

    title = "L1 filters"
    family = "structured"
    paper = Paper(
        "li2017pruning",
        "Pruning Filters for Efficient ConvNets",
        "Hao Li and Asim Kadav and Igor Durdanovic and Hanan Samet and Hans Peter Graf",
        "ICLR",
        2017,
        arxiv="1608.08710",
    )

    layers: Layers = "convolutions"
    branches: Branches = "inner"
    retraining: RetrainingOrScratch = "fine_tuning"
    rewind_to: Duration = Duration("75%")

    def __call__(self, session: Session) -> None:
        names = filter_layers(session, self.layers, self.branches)
        require_learning_rate(session, self.retraining)
        require_reachable(session, self.scores(session, names))
        session.train(until=self.rewind_to)
        start = session.snapshot()
        session.train()
        session.prune_channels(self.scores(session, names))
        retrain(session, start, self.retraining)

    def scores(self, session: Session, names: list[str]) -> dict[str, Tensor]:
        return ranks(filter_norms(session, names))


@hookimpl
def register_pruners(register):
    register("l1_filter", L1Filter)
