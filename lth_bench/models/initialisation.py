"""How the literature draws initial weights."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from lth_bench.experiments.recipe import Recipe
from lth_bench.models.layer_roles import prunable

Network = TypeVar("Network", bound=nn.Module)


def glorot_normal(network: Network) -> Network:
    """Glorot normal weights, and zero biases, in convolution and linear layers."""
    return _drawn(network, nn.init.xavier_normal_)


def kaiming_normal(network: Network) -> Network:
    """Kaiming normal weights by fan-in, and zero biases, in convolution and linear layers."""
    return _drawn(network, lambda weight: nn.init.kaiming_normal_(weight, nonlinearity="relu"))


def initialise(network: nn.Module, recipe: Recipe) -> None:
    """Draws the initial weights that the recipe asks for, from torch's own stream."""
    if recipe.initialisation != "own":
        DRAWS[recipe.initialisation](network)
    if recipe.norm_scale == "uniform":
        for module in network.modules():
            if isinstance(module, _BatchNorm) and module.affine:
                nn.init.uniform_(module.weight)


def _drawn(network: Network, draw: Callable[[Tensor], object]) -> Network:
    for name, weight in prunable(network).items():
        draw(weight)
        layer = network.get_submodule(name.rpartition(".")[0])
        bias = getattr(layer, "in_proj_bias" if name.endswith("in_proj_weight") else "bias", None)
        if bias is not None:
            nn.init.zeros_(bias)
    return network


DRAWS: dict[str, Callable[[nn.Module], nn.Module]] = {"kaiming_normal": kaiming_normal, "glorot_normal": glorot_normal}
