"""GraNet: gradual magnitude pruning with zero-cost neuroregeneration."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

from lth_bench import Duration, Paper, Rate, Share, chance, hookimpl, magnitude
from lth_bench.methods.sparse_training import (
    Annealing,
    Distribution,
    GradualPruning,
    annealed_to_floor,
    evolve_after_updates,
    exchanged,
    gradient_magnitude_at_hand,
    gradual_pruning,
    layer_sparsities,
    update_steps,
)
from lth_bench.pruning.allocation import kept_count, sizes_of

if TYPE_CHECKING:
    from lth_bench.training.session import Session


@dataclass(frozen=True)
class GraNet:
    """Prune gradually by magnitude; each time, drop a further share of the weights and grow as many by gradient.

    Liu et al. 2021, arXiv:2106.10404. At every `interval` after `begin`, and at `end`, the weights of all layers
    together are pruned to the sparsity of Zhu & Gupta's schedule; then the share `regeneration`, annealed, of each
    layer's weights is dropped by magnitude and as many are grown by gradient. Regeneration
    goes on after `end`, up to `until`. With an `initial_sparsity` of 0.5, training is sparse from the start, by
    `distribution`. The default spans are those of the authors' scripts for CIFAR-10 (epochs 0 to 80 of 160), where
    regeneration never ends.

    As in the authors' code, a change of the topology follows a training step and grows weights by its gradients, the
    share that is regenerated falls to 0.005, and its number of weights is rounded up.

    Deviations:
    - The target is met exactly, at `end` (the authors' code prunes for the last time one interval earlier, just short
      of the target).
    - Every topology has an exact number of weights (the first one of the authors' code is drawn weight by weight).
    """

    title = "GraNet"
    family = "dynamic"
    paper = Paper(
        "liu2021sparse",
        "Sparse Training via Boosting Pruning Plasticity with Neuroregeneration",
        "Shiwei Liu and Tianlong Chen and Xiaohan Chen and Zahra Atashgahi and Lu Yin and Huanyu Kou and Li "
        "Shen and Mykola Pechenizkiy and Zhangyang Wang and Decebal Constantin Mocanu",
        "NeurIPS",
        2021,
        arxiv="2106.10404",
        code="https://github.com/VITA-Group/GraNet",
    )

    revision = 2

    initial_sparsity: Share = 0.0
    distribution: Distribution = "erk"
    begin: Duration = Duration("0%")
    end: Duration = Duration("50%")
    interval: Duration = Duration("1000it")
    regeneration: Rate = 0.5
    annealing: Annealing = "cosine"
    until: Duration = Duration("100%")

    def __call__(self, session: Session) -> None:
        schedule = gradual_pruning(session, (self.begin, self.end), self.interval, self.initial_sparsity)
        later = update_steps(session, self.interval, self.until)
        size = sum(sizes_of(session.shapes).values())
        session.prune(chance(session), layer_sparsities(session, self.distribution, self.initial_sparsity))

        def rewired(gradients):
            fraction = annealed_to_floor(self.regeneration, self.annealing, session.step, later.stop)
            session.prune(magnitude(session), 1 - remaining(schedule, session.step, size) / size)
            return exchanged(session, gradients, fraction, math.ceil)

        steps = [*schedule.steps, *(step for step in later if step > schedule.end)]
        evolve_after_updates(session, steps, partial(gradient_magnitude_at_hand, session), rewired)


def remaining(schedule: GradualPruning, step: int, size: int) -> int:
    """The number of `size` weights kept at a step, rounded down as in the authors' code, or the target at the end."""
    target = kept_count(schedule.final, size)
    return target if step >= schedule.end else max(int(size * (1 - schedule.sparsity(step))), target)


@hookimpl
def register_pruners(register):
    register("granet", GraNet)
