"""Training under a pattern from scratch, with a sparse-refined straight-through estimator."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from lth_bench import Paper, hookimpl, magnitude
from lth_bench_plugins.parametrisations.penalties import Coefficient

if TYPE_CHECKING:
    from torch import nn

    from lth_bench.training.session import Session


@dataclass(frozen=True)
class SRSTE:
    """Keep the N largest of every M weights along the inputs in every pass, and train all of them.

    Zhou et al. 2021, arXiv:2102.04010: gradients pass straight through to pruned weights, which `decay` pulls to zero,
    on top of the recipe's weight decay; at 0 it is the plain straight-through estimator. The pattern is that of the
    experiment.

    Deviations:
    - Convolutions whose input channels do not come in groups of M are dense (the authors' code lets groups run on into
      the next position of the kernel), and so are no others (in the authors' ResNets, the output layer is dense).
    """

    title = "SR-STE"
    family = "re-parametrised"
    paper = Paper(
        "zhou2021learning",
        "Learning N:M Fine-grained Structured Sparse Neural Networks From Scratch",
        "Aojun Zhou and Yukun Ma and Junnan Zhu and Jianbo Liu and Zhijie Zhang and Kun Yuan and Wenxiu Sun and "
        "Hongsheng Li",
        "ICLR",
        2021,
        arxiv="2102.04010",
        code="https://github.com/aojunzz/NM-sparsity",
    )

    decay: Coefficient = 2e-4

    def __call__(self, session: Session) -> None:
        self.parametrize(session)
        session.train()
        self.settle(session)

    def parametrize(self, session: Session) -> dict[str, nn.Module]:
        """Computes the weights in the pattern where they can hold it. Raises Unsuitable without a pattern."""
        from torch import nn

        from lth_bench import Unsuitable
        from lth_bench_plugins.parametrisations.patterned import Patterned

        if (pattern := session.pattern) is None:
            raise Unsuitable('it trains under a pattern; ask for one in place of a number: sparsities = ["2:4"]')
        return session.parametrize(
            lambda layer, weight: Patterned(pattern, self.decay) if pattern.fits(weight.shape) else nn.Identity()
        )

    def settle(self, session: Session) -> None:
        """Makes the weights plain, under the masks of the last pass."""
        from lth_bench_plugins.parametrisations.selection import settle

        settle(session, lambda: magnitude(session), session.sparsity)


@hookimpl
def register_pruners(register):
    register("sr_ste", SRSTE)
