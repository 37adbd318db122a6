"""L0 regularisation: learn a gate for every weight, with a penalty for every gate that is open."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

from lth_bench import Duration, Paper, Rate, hookimpl
from lth_bench_plugins.parametrisations.penalties import Coefficient, exempt, ramp, train

if TYPE_CHECKING:
    import torch
    from torch import Tensor

    from lth_bench.training.session import Session


@dataclass(frozen=True)
class L0:
    """Train with a random gate on every weight, and with the expected number of open gates in the loss.

    Louizos et al. 2018, arXiv:1712.01312: gates follow the hard concrete distribution (β = 2/3, γ = -0.1, ζ = 1.1), and
    the expected number of open gates is multiplied by `coefficient` and divided by the number of training examples. As
    in Gale et al. 2019, arXiv:1902.09574, this penalty sets in linearly from `begin` to `end`, and log α starts from
    N(log(p / (1 - p)), 0.01²) with the probability p of `initial_share`. The share of gates that are closed in the
    network of expected gates, the sparsity that the method reaches by itself, is noted as `native_sparsity`. Choose a
    coefficient that brings it close to the target.

    Deviations:
    - The weights of the highest log α of all layers together are kept, exactly as many as the target asks for, also in
      evaluations during training (the papers remove the weights whose gates are closed).
    - A gate that is closed but kept is open by a millionth.
    - Weights decay as the recipe says; log α does not decay.
    """

    title = "L0"
    family = "re-parametrised"
    paper = Paper(
        "louizos2018learning",
        "Learning Sparse Neural Networks through L0 Regularization",
        "Christos Louizos and Max Welling and Diederik P. Kingma",
        "ICLR",
        2018,
        arxiv="1712.01312",
        code="https://github.com/AMLab-Amsterdam/L0_regularization",
    )

    coefficient: Coefficient = 0.1
    begin: Duration = Duration("0%")
    end: Duration = Duration("40%")
    initial_share: Rate = 0.9

    def __call__(self, session: Session) -> None:
        from lth_bench_plugins.parametrisations.hard_concrete import CLOSED, HardConcrete
        from lth_bench_plugins.parametrisations.selection import Selection, note_native_sparsity, settle

        rising, examples = ramp(session, self.begin, self.end), session.steps("1ep") * session.recipe.batch_size

        def gates() -> dict[str, Tensor]:
            return {layer: gate.log_alpha for layer, gate in gated.items()}

        def penalty() -> Tensor:
            scale = self.coefficient * rising.share(session.step) / examples
            return scale * sum(gate.open() for gate in gated.values())

        selection = Selection(gates, session.sparsity)
        gated = session.parametrize(
            lambda layer, weight: HardConcrete(layer, self.initial(weight, session.rng), selection)
        )
        exempt(session, gates().values())
        train(session, penalty)
        note_native_sparsity(session, gates(), CLOSED)
        settle(session, gates, session.sparsity)

    def initial(self, weight: Tensor, rng: torch.Generator) -> Tensor:
        mean = math.log(self.initial_share / (1 - self.initial_share))
        return weight.new_empty(weight.shape, device="cpu").normal_(mean, 0.01, generator=rng).to(weight.device)


@hookimpl
def register_pruners(register):
    register("l0", L0)
