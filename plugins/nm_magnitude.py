"""Magnitude pruning to a pattern: 2 of every 4 weights, for instance."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from lth_bench import Duration, Paper, hookimpl, magnitude
from lth_bench.methods.retraining import RetrainingOrNone, prune_trained

if TYPE_CHECKING:
    from lth_bench.training.session import Session


@dataclass(frozen=True)
class NMMagnitude:
    """Train, keep the N largest of every M weights along the inputs, and train once more by the same recipe.

    Mishra et al. 2021, arXiv:2104.08378, for 2:4. The pattern is that of the experiment. Layers are `eligible` whose
    inputs make whole groups ("divisible"), or of these, as in the authors' code, those of which 8 divides the number of
    outputs and 16 that of inputs ("multiples"), as tensor cores want them; the others stay dense. `retraining` goes
    back to the learning rate at `rewind_to`, by default that of the start, or is that of one-shot magnitude pruning.

    Deviations:
    - The optimiser keeps its state when training starts again.
    - Channels stay in their order (the authors' code can search for one in which larger weights are kept).
    """

    title = "N:M magnitude"
    family = "after training"
    paper = Paper(
        "mishra2021accelerating",
        "Accelerating Sparse Deep Neural Networks",
        "Asit Mishra and Jorge Albericio Latorre and Jeff Pool and Darko Stosic and Dusan Stosic and Ganesh Venkatesh "
        "and Chong Yu and Paulius Micikevicius",
        "arXiv",
        2021,
        arxiv="2104.08378",
        code="https://github.com/NVIDIA/apex/tree/master/apex/contrib/sparsity",
    )

    eligible: Literal["divisible", "multiples"] = "divisible"
    retraining: RetrainingOrNone = "learning_rate_rewinding"
    rewind_to: Duration = Duration("0it")

    def __call__(self, session: Session) -> None:
        sparsities = self.sparsities(session)
        prune_trained(session, lambda: session.prune(magnitude(session), sparsities), self.retraining, self.rewind_to)

    def sparsities(self, session: Session) -> dict[str, float]:
        """That of the pattern for eligible layers, 0 for others. Raises Unsuitable without a pattern or such layers."""
        from lth_bench import Unsuitable

        if session.pattern is None:
            raise Unsuitable(
                'it prunes to a pattern; list one, such as "2:4", among the sparsities in place of a number'
            )
        names = [name for name, shape in session.shapes.items() if self.is_eligible(shape, session)]
        if not names:
            raise Unsuitable(
                f"no layer that can hold {session.pattern} has outputs in multiples of 8 and inputs in multiples of "
                '16; set eligible to "divisible"'
            )
        return {name: session.pattern.sparsity if name in names else 0.0 for name in session.shapes}

    def is_eligible(self, shape: tuple[int, ...], session: Session) -> bool:
        fits = session.pattern.fits(shape)
        return fits and (self.eligible == "divisible" or (shape[0] % 8 == 0 and shape[1] % 16 == 0))


@hookimpl
def register_pruners(register):
    register("nm_magnitude", NMMagnitude)
