"""SynFlow: iterative pruning by synaptic flow, without data."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from lth_bench import Count, Paper, hookimpl
from lth_bench.pruning.allocation import density_of, kept_count, sizes_of

if TYPE_CHECKING:
    from torch import Tensor

    from lth_bench.training.session import Session


@dataclass(frozen=True)
class SynFlow:
    """Round by round, keep the weights through which most synaptic flow goes at initialisation, then train.

    Tanaka et al. 2020, arXiv:2006.05467, algorithm 1: R is the sum of the outputs for an input of ones in the network
    whose parameters are replaced by their absolute values; the score of a weight θ is |θ · dR/dθ|. After round r of
    `rounds`, a share (1 - sparsity)^(r / rounds) of the weights remains. No data is used.

    As in the authors' code, the absolute values include biases and the scales, shifts and running statistics of batch
    norm, which uses its running statistics.

    Deviations:
    - Scores are computed in float64 (in the authors' code in float32, in which deep networks overflow).
    - The last round meets the target exactly (in the authors' code it rounds up, as all rounds do).
    """

    title = "SynFlow"
    family = "before training"
    paper = Paper(
        "tanaka2020pruning",
        "Pruning neural networks without any data by iteratively conserving synaptic flow",
        "Hidenori Tanaka and Daniel Kunin and Daniel L. K. Yamins and Surya Ganguli",
        "NeurIPS",
        2020,
        arxiv="2006.05467",
        code="https://github.com/ganguli-lab/Synaptic-Flow",
    )

    revision = 2

    rounds: Count = 100

    def __call__(self, session: Session) -> None:
        size = sum(sizes_of(session.shapes).values())
        for count in kept_counts(session.sparsity, size, self.rounds):
            session.prune(self.scores(session), 1 - count / size)
        session.train()

    def scores(self, session: Session) -> dict[str, Tensor]:
        """|θ · dR/dθ| in the network as pruned so far. Raises Unsuitable where it overflows."""
        import torch

        from lth_bench import Unsuitable

        with session.scoring(precision=torch.float64):
            for value in session.model.state_dict().values():
                if value.is_floating_point():
                    closed = value.isneginf()  # a constant, as in a causal mask
                    value.abs_().masked_fill_(closed, -torch.inf)
            ones = torch.ones(1, *session.input_shape, device=next(session.model.parameters()).device)
            flow = session.logits(ones).sum()
            if not bool(flow.isfinite()):
                raise Unsuitable("the synaptic flow through this network overflows float64; take one that is less deep")
            flow.backward()
            return {name: (weight.grad * weight).detach().abs() for name, weight in session.weights.items()}


def kept_counts(sparsity: float, size: int, rounds: int) -> list[int]:
    """The number of `size` weights that each round keeps, rounded up as in the authors' code; at last, the target."""
    densities = [density_of(sparsity) ** (number / rounds) for number in range(1, rounds)]
    return [*(size - int((1 - density) * size) for density in densities), kept_count(sparsity, size)]


@hookimpl
def register_pruners(register):
    register("synflow", SynFlow)
