"""RigL: sparse training that grows weights whose gradient is large."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated

from annotated_types import Gt

from lth_bench import Duration, Rate, chance, hookimpl
from lth_bench.methods.sparse_training import (
    Annealing,
    Distribution,
    annealed,
    evolve,
    exchanged,
    gradient_magnitude,
    layer_sparsities,
    update_steps,
)
from lth_bench_plugins.papers import EVCI_2020

if TYPE_CHECKING:
    from lth_bench.training.session import Session


@dataclass(frozen=True)
class RigL:
    """Start from a random sparse network; at intervals, drop small weights and grow weights of large gradient.

    Evci et al. 2020, arXiv:1911.11134, algorithm 1. At every `interval` before `until`, the share `drop_fraction`,
    annealed, of each layer's weights is dropped by magnitude, and as many are grown by the gradient of the current
    batch; this replaces a training step. The default `distribution` is the paper's best; the paper's uniform one is
    "uniform_first_dense" here. `training` multiplies the length of the recipe (the paper's 5×).

    The share of weights that were ever active is noted as `explored` (Liu et al. 2021, arXiv:2102.02887; their
    RigL-ITOP is the method `itop`).

    Deviations:
    - Dense layers of a distribution count for the target, which is met exactly (in the authors' code, a dense first
      layer does not count).
    - Magnitudes have no noise (the authors' code adds noise of 1e-5).
    - The share is annealed (the authors' CIFAR-10 scripts anneal only if asked to).
    """

    title = "RigL"
    family = "dynamic"
    paper = EVCI_2020

    distribution: Distribution = "erk"
    interval: Duration = Duration("100it")
    drop_fraction: Rate = 0.3
    annealing: Annealing = "cosine"
    until: Duration = Duration("75%")
    training: Annotated[float, Gt(0)] = 1.0

    def __call__(self, session: Session) -> None:
        session.stretch(self.training)
        updates = update_steps(session, self.interval, self.until)
        session.prune(chance(session), layer_sparsities(session, self.distribution, session.sparsity))

        def rewired(batch):
            fraction = annealed(self.drop_fraction, self.annealing, session.step, updates.stop)
            return exchanged(session, gradient_magnitude(session, batch), fraction)

        evolve(session, updates, rewired)


@hookimpl
def register_pruners(register):
    register("rigl", RigL)
