"""In-time over-parameterisation: RigL and SET with long intervals, so that more weights are explored."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Annotated, Literal

from annotated_types import Gt

from lth_bench import Duration, Paper, Rate, chance, hookimpl
from lth_bench.methods.sparse_training import (
    Distribution,
    annealed_to_floor,
    evolve_after_updates,
    exchanged,
    gradient_magnitude_at_hand,
    layer_sparsities,
    update_steps,
)

if TYPE_CHECKING:
    from lth_bench.pruning.masks import Masks, Scores
    from lth_bench.training.session import Session


@dataclass(frozen=True)
class ITOP:
    """Start from a random sparse network; at long intervals up to the end, drop small weights and grow others.

    Liu et al. 2021, arXiv:2102.02887: RigL-ITOP with `growth` "gradient"; SET-ITOP with "random" and the paper's
    `interval` "1500it". As in the authors' code, a change of the topology follows a training step and grows weights by
    its gradients; the share `drop_fraction` of each layer's weights falls by a cosine to 0.005, and its number is
    rounded up. The share of weights that were ever active is noted as `explored`. `training` multiplies the length of
    the recipe.

    Deviations:
    - Every topology has an exact number of weights (in the authors' code, the first one and random growth are drawn
      weight by weight).
    - The topology does not change after the very last step (in the authors' code it does where an interval ends there).
    """

    title = "ITOP"
    family = "dynamic"
    paper = Paper(
        "liu2021need",
        "Do We Actually Need Dense Over-Parameterization? In-Time Over-Parameterization in Sparse Training",
        "Shiwei Liu and Lu Yin and Decebal Constantin Mocanu and Mykola Pechenizkiy",
        "ICML",
        2021,
        arxiv="2102.02887",
        code="https://github.com/Shiweiliuiiiiiii/In-Time-Over-Parameterization",
    )

    growth: Literal["gradient", "random"] = "gradient"
    distribution: Distribution = "erk"
    interval: Duration = Duration("4000it")
    drop_fraction: Rate = 0.5
    training: Annotated[float, Gt(0)] = 1.0

    def __call__(self, session: Session) -> None:
        session.stretch(self.training)
        steps = update_steps(session, self.interval, Duration("100%"))[1:]
        session.prune(chance(session), layer_sparsities(session, self.distribution, session.sparsity))
        growth = gradient_magnitude_at_hand if self.growth == "gradient" else chance
        evolve_after_updates(session, steps, partial(growth, session), partial(self.rewired, session))

    def rewired(self, session: Session, growth: Scores) -> Masks:
        """The masks after the present step, by scores for growth."""
        return exchanged(session, growth, self.fraction(session.step, session.total_steps), math.ceil)

    def fraction(self, step: int, end: int) -> float:
        return annealed_to_floor(self.drop_fraction, "cosine", step, end)


@hookimpl
def register_pruners(register):
    register("itop", ITOP)
