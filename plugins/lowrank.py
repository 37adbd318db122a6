"""Factorised layers: train every weight as the product of two matrices of low rank."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from lth_bench import Paper, hookimpl
from lth_bench.pruning.allocation import kept_count
from lth_bench_plugins.parametrisations.penalties import exempt, train
from lth_bench_plugins.parametrisations.ranks import elements, saves, shared_out

if TYPE_CHECKING:
    from torch import Tensor, nn

    from lth_bench.training.session import Session


@dataclass(frozen=True)
class LowRank:
    """Replace weights by products U·V of low rank before training, and train the factors.

    Khodak et al. 2021, arXiv:2105.01029, section 2: factors start from the singular value decomposition of the initial
    weight (spectral initialisation). `decay` "frobenius" applies the recipe's weight decay to the product, by half of
    its squared Frobenius norm in the loss; "factors" applies it to the factors. The weight of a 2D convolution is a
    matrix of outputs × height rows and inputs × width columns.

    The first and the last layer are not factorised, as in the authors' code, unless `dense` says otherwise. All others
    get the same share of their full rank, as far as whole ranks allow, and a rank of at least one; a layer whose
    factors would have no fewer elements than its weight is not factorised either. The sparsity meets the target or
    exceeds it by less than one rank.

    Deviations:
    - The weights of dense layers count for the target (in the authors' code, all parameters do).
    - Weights of convolutions are folded back as they were unfolded (the authors' code uses another order).
    - With AdamW, which decays weights apart from the loss, Frobenius decay is part of the loss nevertheless.
    """

    title = "low rank"
    family = "structured"
    paper = Paper(
        "khodak2021initialization",
        "Initialization and Regularization of Factorized Neural Layers",
        "Mikhail Khodak and Neil Tenenholtz and Lester Mackey and Nicolo Fusi",
        "ICLR",
        2021,
        arxiv="2105.01029",
        code="https://github.com/microsoft/fnl_paper",
    )

    dense: Literal["first_and_last", "last", "none"] = "first_and_last"
    decay: Literal["frobenius", "factors"] = "frobenius"

    def __call__(self, session: Session) -> None:
        from torch import nn

        from lth_bench_plugins.parametrisations.factors import Factors, squared_norm

        ranks = self.ranks(session)

        def factorised(layer: str, weight: Tensor) -> nn.Module:
            return Factors(weight.shape, ranks[layer]) if layer in ranks else nn.Identity()

        session.parametrize(factorised)
        if self.decay == "factors":
            session.train()
            return
        pairs = [factors(session, layer) for layer in ranks]
        exempt(session, [factor for pair in pairs for factor in pair])
        train(session, lambda: session.recipe.weight_decay / 2 * sum(squared_norm(*pair) for pair in pairs))

    def ranks(self, session: Session) -> dict[str, int]:
        """Ranks of the layers to factorise. Raises Unsuitable where ranks of one exceed the target already."""
        from lth_bench import Unsuitable

        shapes, size = session.shapes, sum(math.prod(shape) for shape in session.shapes.values())
        dense = self.dense_layers(session)
        thin = {layer: shape for layer, shape in shapes.items() if layer not in dense}
        dense_size, budget = sum(math.prod(shapes[layer]) for layer in dense), kept_count(session.sparsity, size)
        if (least := dense_size + sum(elements(shape, 1) for shape in thin.values())) > budget:
            most = math.floor(1e4 * (1 - least / size)) / 1e4
            raise Unsuitable(
                f"a sparsity of {session.sparsity:.6g} leaves {budget} elements; the dense layers of {self.dense!r} "
                f"and a rank of one in all others take {least}; ask for {most} at most, or fewer dense layers"
            )
        return {
            layer: rank for layer, rank in shared_out(thin, budget - dense_size).items() if saves(thin[layer], rank)
        }

    def dense_layers(self, session: Session) -> set[str]:
        ends = {"first_and_last": {next(iter(session.shapes)), session.output_layer}, "last": {session.output_layer}}
        return ends.get(self.dense, set()) & set(session.shapes)


def factors(session: Session, layer: str) -> list[nn.Parameter]:
    """The two matrices that a layer's weight is computed from."""
    path, _, leaf = layer.rpartition(".")
    return list(session.model.get_submodule(f"{path}.parametrizations.{leaf}".removeprefix(".")).parameters())


@hookimpl
def register_pruners(register):
    register("lowrank", LowRank)
