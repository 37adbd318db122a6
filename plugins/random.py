"""Random masks at initialisation, with a choice of sparsities by layer."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from lth_bench import Paper, Rate, Share, chance, erk, hookimpl, layer_rates, layerwise, uniform

if TYPE_CHECKING:
    from lth_bench.training.session import Session


@dataclass(frozen=True)
class Random:
    """Keep random weights of the untrained network, then train.

    `distribution` is "uniform" (the same sparsity in every layer), "erk" (Erdős-Rényi-Kernel, Evci et al. 2020,
    arXiv:1911.11134) or "layerwise": the sparsities of layer-wise IMP with the same `rate` and `output_rate`, so that
    the two methods differ only in which weights they keep.
    """

    title = "random"
    family = "before training"
    paper = Paper(
        "liu2022unreasonable",
        "The Unreasonable Effectiveness of Random Pruning: Return of the Most Naive Baseline for Sparse Training",
        "Shiwei Liu and Tianlong Chen and Xiaohan Chen and Li Shen and Decebal Constantin Mocanu and "
        "Zhangyang Wang and Mykola Pechenizkiy",
        "ICLR",
        2022,
        arxiv="2202.02643",
        code="https://github.com/VITA-Group/Random_Pruning",
    )

    distribution: Literal["uniform", "erk", "layerwise"] = "uniform"
    rate: Rate = 0.2
    output_rate: Share | None = None

    def __call__(self, session: Session) -> None:
        session.prune(chance(session), self.sparsities(session))
        session.train()

    def sparsities(self, session: Session) -> dict[str, float]:
        if self.distribution == "layerwise":
            rates = layer_rates(session, self.rate, self.output_rate)
            return layerwise(session.shapes, session.sparsity, rates)
        spread = {"uniform": uniform, "erk": erk}[self.distribution]
        return spread(session.shapes, session.sparsity)


@hookimpl
def register_pruners(register):
    register("random", Random)
