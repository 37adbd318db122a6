"""Weights that start at zero or close to it, and so hide the weights behind them from scores at initialisation."""

from __future__ import annotations

import re

import torch
from timm.layers.grn import GlobalResponseNorm
from torch import Tensor, nn

from lth_bench.experiments.adapters import Adapters
from lth_bench.models.layer_roles import output_weights, prunable

NORM_SCALE = re.compile(r"weight|gain|skipinit_gain")
LAYER_SCALE = re.compile(r"(gamma|ls|scale|layer_scale)_?\w*")
HEAD_DEVIATION = 0.02


def norm_scales(model: nn.Module) -> dict[str, nn.Parameter]:
    """The vectors by which norm layers, scaled convolutions and SkipInit multiply, by name.

    Not those of global response norm (arXiv:2301.00808): it adds its input, so that with a scale of zero it is the
    identity.
    """
    inert = {id(layer.weight) for layer in model.modules() if isinstance(layer, GlobalResponseNorm)}
    return {name: scale for name, scale in _vectors(model, NORM_SCALE).items() if id(scale) not in inert}


def layer_scales(model: nn.Module) -> dict[str, nn.Parameter]:
    """The vectors that scale a residual branch, whatever timm calls them, by name.

    They are LayerScale (arXiv:2103.17239), and norms at the end of a branch whose scale starts at neither zero nor one;
    not the scales of a shortcut, as in MetaFormer (`res_scale`), nor factors that are one number for all channels.
    """
    named = _vectors(model, LAYER_SCALE)
    small = {name: scale for name, scale in norm_scales(model).items() if _constant(scale) not in (None, 0, 1)}
    branch = {name: scale for name, scale in named.items() if "res_scale" not in name and _constant(scale) is not None}
    return {name: scale for name, scale in {**branch, **small}.items() if scale.numel() > 1}


def zero_weights(model: nn.Module) -> list[str]:
    """Names of the weights and scales that are all zero, and so block the gradient; without biases and tables."""
    factors = {**prunable(model), **norm_scales(model), **_vectors(model, LAYER_SCALE)}
    return [name for name, factor in factors.items() if _constant(factor) == 0]


@torch.no_grad()
def mend(model: nn.Module, adapters: Adapters) -> None:
    """Applies `zero_init_last`, `zero_init_head` and `layer_scale` to a fresh network, in place.

    Output layers are drawn from torch's own stream.
    """
    if adapters.layer_scale is not None:
        for scale in layer_scales(model).values():
            scale.fill_(adapters.layer_scale)
    if not adapters.zero_init_last:
        for scale in norm_scales(model).values():
            _start_at_one(scale)
    if not adapters.zero_init_head:
        for name in output_weights(model):
            _draw(prunable(model)[name])


def _start_at_one(scale: Tensor) -> None:
    if _constant(scale) == 0:
        scale.fill_(1)


def _draw(weight: Tensor) -> None:
    if _constant(weight) == 0:
        nn.init.trunc_normal_(weight, std=HEAD_DEVIATION, a=-2 * HEAD_DEVIATION, b=2 * HEAD_DEVIATION)


def _vectors(model: nn.Module, leaf: re.Pattern[str]) -> dict[str, nn.Parameter]:
    """Parameters with one entry for each channel whose last name matches; not the weights of layers."""
    weights = {id(weight) for weight in prunable(model).values()}
    return {
        name: parameter
        for name, parameter in model.named_parameters()
        if leaf.fullmatch(name.rpartition(".")[2])
        and parameter.numel() == max(parameter.shape, default=1)
        and id(parameter) not in weights
    }


def _constant(values: Tensor) -> float | None:
    """The number that all entries equal; None if they differ."""
    first = values.detach().flatten()[0]
    return float(first) if bool((values == first).all()) else None
