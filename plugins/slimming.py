"""Network slimming: train with a penalty on batch-norm scales, and remove the channels of small scales."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from lth_bench import Duration, Paper, hookimpl, retrain
from lth_bench.methods.retraining import RetrainingOrScratch, require_learning_rate
from lth_bench.methods.structured import Penalty, require_reachable, scales, train_with_penalty

if TYPE_CHECKING:
    from lth_bench.training.session import Session


@dataclass(frozen=True)
class Slimming:
    """Train with an L1 penalty on the scales of batch norm, remove the channels of the smallest scales, train again.

    Liu et al. 2017, arXiv:1708.06519, section 3: channels are ranked by |scale| over all layers. The default `penalty`
    is that of the paper's VGG; for ResNet and DenseNet it is 1e-5. The paper trains again by the schedule of the first
    training, which is "learning_rate_rewinding" to step 0. The other ways of `retraining` are those of Renda et al.
    2020, arXiv:2003.02389, from `rewind_to` on, and "scratch_e" and "scratch_b" of Liu et al. 2019, arXiv:1810.05270:
    the remaining channels get new random weights and are trained for as many steps, or for as many FLOPs but at most
    twice as many steps.

    Deviations:
    - Channels go until the share of weights, not of channels, is reached; the best channel of each layer is kept.
    - Scales start as for every other method (the paper's start at 0.5).
    - The scales of norms that do not directly follow a prunable layer, as in preactivated residual blocks, are neither
      penalised nor ranked (the authors' code selects from the output of such a norm).
    """

    title = "slimming"
    family = "structured"
    paper = Paper(
        "liu2017learning",
        "Learning Efficient Convolutional Networks through Network Slimming",
        "Zhuang Liu and Jianguo Li and Zhiqiang Shen and Gao Huang and Shoumeng Yan and Changshui Zhang",
        "ICCV",
        2017,
        arxiv="1708.06519",
        code="https://github.com/Eric-mingjie/network-slimming",
    )

    penalty: Penalty = 1e-4
    retraining: RetrainingOrScratch = "learning_rate_rewinding"
    rewind_to: Duration = Duration("0it")

    def __call__(self, session: Session) -> None:
        require_learning_rate(session, self.retraining)
        require_reachable(session, scales(session))
        train_with_penalty(session, self.penalty, until=self.rewind_to)
        start = session.snapshot()
        train_with_penalty(session, self.penalty)
        session.prune_channels(scales(session))
        retrain(session, start, self.retraining)


@hookimpl
def register_pruners(register):
    register("slimming", Slimming)
