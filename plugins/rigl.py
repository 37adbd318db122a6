"""RigL: sparse training that grows weights where the dense gradient is large."""

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

if TYPE_CHECKING:
    from lth_bench.training.session import Session


@dataclass(frozen=True)
class RigL:
    """Start from a random sparse network; every so often, drop small weights and grow those of large gradients.

    Evci et al. 2020, arXiv:1911.11134, algorithm 1. At every `interval` before `until`, the `drop_fraction`, annealed,
    of each layer's weights is dropped by magnitude, and as many are grown by the gradient of the current batch; this
    takes the place of a training step. `distribution` is the paper's best; what it calls uniform is
    "uniform_first_dense" here. `training` makes the recipe last so many times as long (the paper's 5×).

    With `interval` "4000it", `drop_fraction` 0.5 and `until` "100%" this is RigL-ITOP (Liu et al. 2021,
    arXiv:2102.02887); the share of weights ever active is in the notes of the record as `explored`.

    Deviations: dense layers of a distribution count for the target, which is met exactly (in the authors' code, a first
    layer that is kept dense is left out of it).
    The authors' code adds noise of 1e-5 to magnitudes, and its CIFAR-10 scripts do not anneal unless told to.
    """

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
