"""Whether a model is fit to be pruned at initialisation, and what would mend it."""

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
from lth_bench.models.networks import make_network, prunable_weights
from lth_bench.models.weight_transforms import transformed
from lth_bench.models.zero_init import layer_scales, norm_scales, zero_weights
from lth_bench.pruning.allocation import SPARSITIES, erk_densities
from lth_bench.pruning.initial_scores import gradient_flows, sensitivities, surviving
from lth_bench.pruning.masks import Scores

SMALL = 0.1  # a layer scale below it puts the scores behind it as far below the others
GRID = 4  # patches a side that a transformer needs


@dataclass(frozen=True)
class LayerFindings:
    """A prunable layer: the shares of its SNIP and GraSP scores that are exactly zero, and what is left of it.

    `left` holds, for each of SPARSITIES, the weights above zero that a global threshold on SNIP scores leaves; `dense`
    the sparsities at which ERK asks for more weights than the layer has. GraSP's share is None where the network has
    no second derivative.
    """

    name: str
    shape: tuple[int, ...]
    snip_zeros: float
    grasp_zeros: float | None
    left: tuple[int, ...]
    dense: tuple[float, ...]

    @property
    def weights(self) -> int:
        return torch.Size(self.shape).numel()


@dataclass(frozen=True)
class Signs:
    """What of a network at initialisation speaks for or against pruning it there.

    `dead` are the layers of which every SNIP score is exactly zero, `zeros` the weights and norm scales that start at
    zero, `scales` the layer scales that start small; `image` is the height and width of what the network sees, `needed`
    the smallest side that its last feature map may have.
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
    """What was found in a network at initialisation; it is fit if there are no `reasons` against it.

    `dense` names weights that could be pruned and are kept out of it, `zeros` weights and norm scales that start at
    zero; `remedies` are arguments of the model that would mend it.
    """

    layers: list[LayerFindings]
    dense: list[str]
    feature_map: tuple[int, int] | None
    zeros: list[str]
    reasons: list[str]
    remedies: dict[str, Any]

    @property
    def weights(self) -> int:
        return sum(layer.weights for layer in self.layers)

    def emptied(self, place: int) -> list[LayerFindings]:
        """Layers of which a global threshold at SPARSITIES[place] leaves nothing although not all scores are zero."""
        return [layer for layer in self.layers if not layer.left[place] and layer.snip_zeros < 1]


def diagnose(model: Choice, recipe: Recipe, batch: Batch, classes: int) -> Findings:
    """Looks at a model with the initial weights of seed 0. Raises ModelError."""
    network = make_network(model, recipe, batch.inputs.shape[1:], classes, seed=0).to(batch.inputs.device)
    weights = prunable_weights(model, network)
    if not weights:
        raise ModelError(f"{model.name!r} has no convolution or linear weight to prune")
    try:
        scores = sensitivities(network, weights, batch)
    except (RuntimeError, ValueError, AssertionError, IndexError, TypeError) as error:
        size = tuple(batch.inputs.shape[1:])
        raise ModelError(f"{model.name!r} cannot take inputs of shape {size}: {error}") from error
    seen = signs(network, scores, batch)
    layers = _layers(scores, gradient_flows(network, weights, batch))
    remedies = _remedies(model, network, seen)
    fault = standardised(network, batch.inputs[:2])  # last, because it leaves the network changed
    return Findings(
        layers=layers,
        dense=[name for name in prunable(network) if name not in weights],
        feature_map=seen.feature_map,
        zeros=seen.zeros,
        reasons=[*_reasons(seen), *([f"it {fault}"] if fault else [])],
        remedies={} if fault else remedies,
    )


def signs(network: nn.Module, scores: Scores, batch: Batch) -> Signs:
    """What there is to see in a network with these SNIP scores; without side effects."""
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
    """What is wrong with a network that standardises its weights, None with another; leaves it changed."""
    if not (changed := transformed(network, inputs)):
        return None
    return (
        f"changes the weights of {len(changed)} layers in its forward pass, {changed[0]!r} for one, so that a mask on "
        "them would not hold"
    )


def _reasons(seen: Signs) -> list[str]:
    found = []
    if seen.dead:
        zeros, total = (sum(seen.scores[name].numel() for name in names) for names in (seen.dead, seen.scores))
        found.append(
            f"{zeros / total:.1%} of its prunable weights, all of {len(seen.dead)} of its {len(seen.scores)} layers, "
            "have a SNIP score of exactly zero"
        )
    if seen.coarse:
        size, image = ("×".join(map(str, sides)) for sides in (seen.feature_map or (), seen.image))
        found.append(f"its last feature map is {size} for images of {image}")
    if seen.scales:
        start = f"{len(seen.scales)} layer scales start at {min(seen.scales):g}"
        found.append(f"{start}, and the scores behind them are as much smaller")
    return found


def _remedies(model: Choice, network: nn.Module, seen: Signs) -> dict[str, Any]:
    """Arguments of the model that would mend what `complaints` holds against it."""
    zeros = set(seen.zeros)
    found: dict[str, Any] = {}
    if seen.coarse:
        found.update({"patch_size": max(1, min(seen.image) // 8)} if seen.needed == GRID else {"stem": "cifar"})
    if seen.dead and zeros & set(norm_scales(network)):
        found["zero_init_last"] = False
    if seen.dead and zeros & set(output_weights(network)):
        found["zero_init_head"] = False
    if seen.scales:
        found["layer_scale"] = 1.0
    return {name: value for name, value in found.items() if model.arguments.get(name) != value}


def _zeros(values: Tensor) -> int:
    return values.numel() - int(values.count_nonzero())


def _layers(scores: dict[str, Tensor], flows: dict[str, Tensor] | None) -> list[LayerFindings]:
    shapes = {name: tuple(score.shape) for name, score in scores.items()}
    left = surviving(scores)
    densities = {sparsity: erk_densities(shapes, sparsity) for sparsity in SPARSITIES}
    return [
        LayerFindings(
            name=name,
            shape=shapes[name],
            snip_zeros=_zeros(score) / score.numel(),
            grasp_zeros=None if flows is None else _zeros(flows[name]) / score.numel(),
            left=left[name],
            dense=tuple(sparsity for sparsity in SPARSITIES if densities[sparsity][name] >= 1),
        )
        for name, score in scores.items()
    ]
