"""Static sparse training: a random topology that never changes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from lth_bench import chance, hookimpl
from lth_bench.methods.sparse_training import Distribution, layer_sparsities
from lth_bench_plugins.papers import EVCI_2020

if TYPE_CHECKING:
    from lth_bench.training.session import Session


@dataclass(frozen=True)
class Static:
    """Train a random sparse network whose topology never changes.

    The baseline of dynamic sparse training, as in Evci et al. 2020, arXiv:1911.11134 ("Static"); the paper's uniform
    distribution is "uniform_first_dense" here.
    """

    title = "static"
    family = "before training"
    paper = EVCI_2020

    distribution: Distribution = "erk"

    def __call__(self, session: Session) -> None:
        session.prune(chance(session), layer_sparsities(session, self.distribution, session.sparsity))
        session.train()


@hookimpl
def register_pruners(register):
    register("static", Static)
