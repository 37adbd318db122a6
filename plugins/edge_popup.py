"""Edge-popup: find a subnetwork of a random network that works although no weight is trained."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from lth_bench import Paper, hookimpl, uniform
from lth_bench.pruning.allocation import kept_count
from lth_bench_plugins.parametrisations.frozen import freeze

if TYPE_CHECKING:
    import torch
    from torch import Tensor

    from lth_bench.training.session import Session


@dataclass(frozen=True)
class EdgePopup:
    """Train a score for every weight of a frozen network, and keep the weights of the largest |scores| in each layer.

    Ramanujan et al. 2020, arXiv:1911.13299, section 3.2. The gradient passes straight through the choice to all scores,
    also to those of weights that are not kept; scores start from Kaiming's uniform distribution (a = √5). Every layer
    keeps the same share of its weights. Biases and the scales of norm layers keep their initial values.

    `initialisation` (sections 4.3 and 4.5) draws weights as the model and the recipe do ("own") or by Kaiming, or sets
    them to a constant: Kaiming's standard deviation with the sign of the initial weight ("signed_constant") or without
    ("unsigned_constant"), or Glorot's with the sign ("glorot_constant"). `fan` counts the inputs or the outputs.
    `scale_fan` multiplies it by the share of weights "kept"; the authors' code multiplies by the share "pruned".

    Deviations:
    - Biases and affine norm layers, which the paper's networks do not have, are frozen too.
    - The number of weights that a layer keeps is rounded such that the total is exact.
    """

    title = "edge-popup"
    family = "re-parametrised"
    paper = Paper(
        "ramanujan2020what",
        "What's Hidden in a Randomly Weighted Neural Network?",
        "Vivek Ramanujan and Mitchell Wortsman and Aniruddha Kembhavi and Ali Farhadi and Mohammad Rastegari",
        "CVPR",
        2020,
        arxiv="1911.13299",
        code="https://github.com/allenai/hidden-networks",
    )

    initialisation: Literal[
        "own", "signed_constant", "unsigned_constant", "glorot_constant", "kaiming_normal", "kaiming_uniform"
    ] = "signed_constant"
    fan: Literal["in", "out"] = "in"
    scale_fan: Literal["none", "kept", "pruned"] = "none"

    def __call__(self, session: Session) -> None:
        from lth_bench_plugins.parametrisations.selection import settle
        from lth_bench_plugins.parametrisations.subnet import Subnet

        sparsities = uniform(session.shapes, session.sparsity)
        for weight in session.weights.values():
            weight.data.copy_(self.initial(weight.data, 1 - session.sparsity, session.rng))
        freeze(session)

        def subnet(layer: str, weight: Tensor) -> Subnet:
            return Subnet(initial_scores(weight, session.rng), kept_count(sparsities[layer], weight.numel()))

        subnets = session.parametrize(subnet)
        session.train()
        settle(session, lambda: {layer: subnet.scores.abs() for layer, subnet in subnets.items()}, sparsities)

    def initial(self, weight: Tensor, kept: float, rng: torch.Generator) -> Tensor:
        """The initial weights of a layer that will keep the share `kept`."""
        if self.initialisation == "own":
            return weight
        if self.initialisation == "glorot_constant":
            return weight.sign() * math.sqrt(2 / sum(fans(weight)))
        deviation = math.sqrt(2 / (fans(weight)[self.fan == "out"] * self.scale(kept)))
        if self.initialisation == "signed_constant":
            return weight.sign() * deviation
        if self.initialisation == "unsigned_constant":
            return weight.new_full(weight.shape, deviation)
        drawn = weight.new_empty(weight.shape, device="cpu")
        if self.initialisation == "kaiming_normal":
            return drawn.normal_(0, deviation, generator=rng)
        return drawn.uniform_(-math.sqrt(3) * deviation, math.sqrt(3) * deviation, generator=rng)

    def scale(self, kept: float) -> float:
        if self.scale_fan == "none":
            return 1.0
        return kept if self.scale_fan == "kept" else 1 - kept


def fans(weight: Tensor) -> tuple[int, int]:
    """Fan-in and fan-out of a weight."""
    field = math.prod(weight.shape[2:])
    return weight.shape[1] * field, weight.shape[0] * field


def initial_scores(weight: Tensor, rng: torch.Generator) -> Tensor:
    """Draws from Kaiming's uniform distribution with a = √5, as torch draws the weights of its layers."""
    bound = 1 / math.sqrt(fans(weight)[0])
    return weight.new_empty(weight.shape, device="cpu").uniform_(-bound, bound, generator=rng).to(weight.device)


@hookimpl
def register_pruners(register):
    register("edge_popup", EdgePopup)
