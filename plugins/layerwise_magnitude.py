"""One-shot magnitude pruning of a trained network with the sparsities of a distribution over layers."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from lth_bench import Duration, hookimpl, magnitude
from lth_bench.methods.retraining import RetrainingOrNone, prune_trained
from lth_bench.methods.sparse_training import Distribution, layer_sparsities
from lth_bench_plugins.papers import EVCI_2020

if TYPE_CHECKING:
    from lth_bench.training.session import Session


@dataclass(frozen=True)
class LayerwiseMagnitude:
    """Train, then keep the largest weights of every layer, at the sparsities of a `distribution`, and do no more.

    The baseline of methods that prune a trained network in one shot; "uniform" is that of the same sparsity everywhere,
    "erk" that of Evci et al. 2020, arXiv:1911.11134. One ranking of all layers is `magnitude`, with scope "global".
    `retraining` may follow, as that of one-shot magnitude pruning.
    """

    title = "layer-wise magnitude"
    family = "after training"
    paper = EVCI_2020

    distribution: Distribution = "uniform"
    retraining: RetrainingOrNone = "none"
    rewind_to: Duration = Duration("0it")

    def __call__(self, session: Session) -> None:
        sparsities = layer_sparsities(session, self.distribution, session.sparsity)
        prune_trained(session, lambda: session.prune(magnitude(session), sparsities), self.retraining, self.rewind_to)


@hookimpl
def register_pruners(register):
    register("layerwise_magnitude", LayerwiseMagnitude)
