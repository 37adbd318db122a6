"""Whether a model is fit to be pruned at initialisation, and which of its arguments would mend it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from lth_bench.data.examples import Batch
from lth_bench.errors import ModelError
from lth_bench.experiments.experiment import Choice
from lth_bench.experiments.recipe import Recipe
from lth_bench.models.feature_map import last_feature_map, patch_grids
from lth_bench.models.layer_roles import output_weights, prunable
from lth_bench.models.left_out import left_out
from lth_bench.models.networks import make_network, prunable_weights
from lth_bench.models.weight_transforms import transformed
from lth_bench.models.zero_init import layer_scales, norm_scales, zero_weights
from lth_bench.pruning.allocation import SPARSITIES, erk_densities
from lth_bench.pruning.initial_scores import gradient_flows, sensitivities, surviving
from lth_bench.pruning.masks import Scores
from lth_bench.pruning.rehearsal import Rehearsal

SMALL = 0.1  # below it, a layer scale makes the scores behind it smaller by the same factor
GRID = 4  # patches a side that a transformer needs


@dataclass(frozen=True)
class LayerFindings:
    """A prunable layer: the shares of its SNIP and GraSP scores that are exactly zero, and how many weights survive.

    `surviving` has, for each of SPARSITIES, the number of weights with a SNIP score above zero that a global threshold
    keeps; `dense` lists the sparsities at which ERK asks for as many weights as the layer has, or more. GraSP's share
    is None where the network has no second derivative.
    """

    name: str
    shape: tuple[int, ...]
    snip_zeros: float
    grasp_zeros: float | None
    surviving: tuple[int, ...]
    dense: tuple[float, ...]

    @property
    def weights(self) -> int:
        return torch.Size(self.shape).numel()


@dataclass(frozen=True)
class Signs:
    """Signs that speak for or against pruning a network at initialisation.

    `dead` names the layers whose SNIP scores are all exactly zero, `zeros` the weights and norm scales that start at
    zero; `scales` has the layer scales that start small. `image` is the height and width of the images, `needed` the
    smallest side that the last feature map may have.
    """

    scores: Scores
    dead: list[str]
    zeros: list[str]
    scales: list[float]
    image: tuple[int, ...]
    feature_map: tuple[int, int] | None
    needed: int

    @property
    def coarse(self) -> bool:
        """Whether the last feature map is smaller than it may be."""
        return self.feature_map is not None and min(self.feature_map) < self.needed


@dataclass(frozen=True)
class Findings:
    """The diagnosis of a network at initialisation; it is fit to be pruned if there are no `reasons` against that.

    `dense` names prunable weights that the model's `keep` holds dense; `left_out` counts by name the matrix weights
    that no method prunes, these among them. `zeros` names weights and norm scales that start at zero; `remedies` are
    arguments of the model that would mend it.
    """

    layers: list[LayerFindings]
    dense: list[str]
    left_out: dict[str, int]
    feature_map: tuple[int, int] | None
    zeros: list[str]
    reasons: list[str]
    remedies: dict[str, Any]

    @property
    def weights(self) -> int:
        return sum(layer.weights for layer in self.layers)

    def emptied(self, place: int) -> list[LayerFindings]:
        """Layers that a global threshold at SPARSITIES[place] empties although not all of their scores are zero."""
        return [layer for layer in self.layers if not layer.surviving[place] and layer.snip_zeros < 1]


def diagnose(model: Choice, recipe: Recipe, batch: Batch, classes: int) -> Findings:
    """Diagnoses a model with the initial weights of seed 0. Raises ModelError."""

    def make(seed: int) -> nn.Module:
        return make_network(model, recipe, batch.inputs.shape[1:], classes, seed).to(batch.inputs.device)

    if fault := Rehearsal(make, Batch(batch.inputs[:2], batch.labels[:2]), classes).fault():
        raise ModelError(f"{model.name!r} {fault}")
    network = make(0)
    weights = prunable_weights(model, network)
    if not weights:
        raise ModelError(f"{model.name!r} has no convolution or linear weight to prune")
    scores = sensitivities(network, weights, batch)
    observed = signs(network, scores, batch)
    layers = _layers(scores, gradient_flows(network, weights, batch))
    remedies = _remedies(model, network, observed)
    outside = left_out(network, weights, tuple(batch.inputs.shape[1:]))
    fault = standardised(network, batch.inputs[:2])  # last, because it leaves the network changed
    return Findings(
        layers=layers,
        dense=[name for name in prunable(network) if name not in weights],
        left_out=outside,
        feature_map=observed.feature_map,
        zeros=observed.zeros,
        reasons=[*_reasons(observed), *([f"it {fault}"] if fault else [])],
        remedies={} if fault else remedies,
    )


def signs(network: nn.Module, scores: Scores, batch: Batch) -> Signs:
    """The signs of a network with these SNIP scores; without side effects."""
    size = last_feature_map(network, batch.inputs[:2])
    starts = [float(scale.detach().abs().max()) for scale in layer_scales(network).values()]
    return Signs(
        scores=scores,
        dead=[name for name, score in scores.items() if not bool(score.any())],
        zeros=zero_weights(network),
        scales=[start for start in starts if 0 < start < SMALL],
        image=tuple(batch.inputs.shape[2:]),
        feature_map=size,
        needed=GRID if size in patch_grids(network) else 2,  # a transformer keeps its first resolution to the end
    )


def complaints(network: nn.Module, scores: Scores, batch: Batch) -> list[str]:
    """Why a network is not fit to be pruned at initialisation; without side effects."""
    return _reasons(signs(network, scores, batch))


def standardised(network: nn.Module, inputs: Tensor) -> str | None:
    """The fault of a network that changes its weights in its forward pass; else None. Leaves the network changed."""
    if not (changed := transformed(network, inputs)):
        return None
    return (
        f"changes the weights of {len(changed)} layers in its forward pass, {changed[0]!r} for one, so that a mask on "
        "them would not hold"
    )


def _reasons(observed: Signs) -> list[str]:
    reasons, scores, dead = [], observed.scores, observed.dead
    if dead:
        zeros, total = (sum(scores[name].numel() for name in names) for names in (dead, scores))
        reasons.append(
            f"{zeros / total:.1%} of its prunable weights, all of {len(dead)} of its {len(scores)} layers, "
            "have a SNIP score of exactly zero"
        )
    if observed.coarse:
        size, image = ("×".join(map(str, sides)) for sides in (observed.feature_map or (), observed.image))
        reasons.append(f"its last feature map is {size} for images of {image}")
    if observed.scales:
        start = f"{len(observed.scales)} layer scales start at {min(observed.scales):g}"
        reasons.append(f"{start}, and the scores behind them are as much smaller")
    return reasons


def _remedies(model: Choice, network: nn.Module, observed: Signs) -> dict[str, Any]:
    """Arguments of the model that would remove the reasons against it."""
    zeros = set(observed.zeros)
    remedies: dict[str, Any] = {}
    if observed.coarse:
        is_transformer = observed.needed == GRID
        remedies.update({"patch_size": max(1, min(observed.image) // 8)} if is_transformer else {"stem": "cifar"})
    if observed.dead and zeros & set(norm_scales(network)):
        remedies["zero_init_last"] = False
    if observed.dead and zeros & set(output_weights(network)):
        remedies["zero_init_head"] = False
    if observed.scales:
        remedies["layer_scale"] = 1.0
    return {name: value for name, value in remedies.items() if model.arguments.get(name) != value}


def _zeros(values: Tensor) -> int:
    return values.numel() - int(values.count_nonzero())


def _layers(scores: dict[str, Tensor], flows: dict[str, Tensor] | None) -> list[LayerFindings]:
    shapes = {name: tuple(score.shape) for name, score in scores.items()}
    counts = surviving(scores)
    densities = {sparsity: erk_densities(shapes, sparsity) for sparsity in SPARSITIES}
    return [
        LayerFindings(
            name=name,
            shape=shapes[name],
            snip_zeros=_zeros(score) / score.numel(),
            grasp_zeros=None if flows is None else _zeros(flows[name]) / score.numel(),
            surviving=counts[name],
            dense=tuple(sparsity for sparsity in SPARSITIES if densities[sparsity][name] >= 1),
        )
        for name, score in scores.items()
    ]
