"""Output channels of prunable layers: which go to meet a sparsity, and what goes with them."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, cast

import torch
from torch import Tensor, nn

from lth_bench.masks import MaskError, Masks, kept
from lth_bench.models import mode

NORMS = (nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d)
OTHER_NORMS = (nn.LayerNorm, nn.GroupNorm)
CONVOLUTIONS = (nn.Conv1d, nn.Conv2d, nn.Conv3d)
Scores = Mapping[str, Tensor]


@dataclass(frozen=True)
class Structure:
    """A network, its prunable weights, the batch norms that follow them by layer, and the shape of its inputs."""

    model: nn.Module
    weights: Mapping[str, nn.Parameter]
    norms: Mapping[str, nn.Module]
    shape: tuple[int, ...]


def structure(model: nn.Module, weights: Mapping[str, nn.Parameter], shape: tuple[int, ...]) -> Structure:
    """The structure of a network; a norm follows a layer if it has scales and takes the layer's output as it is."""
    outputs: list[tuple[str, Tensor]] = []
    norms: dict[str, nn.Module] = {}

    def note(name: str) -> Any:
        return lambda layer, inputs, output: outputs.append((name, output))

    def look(norm: nn.Module, inputs: Any) -> None:
        norms.update({name: norm for name, output in outputs if output is inputs[0]})

    hooks = [_layer(model, name).register_forward_hook(note(name)) for name in weights]
    hooks += [norm.register_forward_pre_hook(look) for norm in model.modules() if _has_scales(norm)]
    try:
        _pass_ones(model, shape)
    finally:
        for hook in hooks:
            hook.remove()
    return Structure(model, weights, norms, shape)


def chosen(whole: Structure, masks: Masks, scores: Scores, sparsity: float, gone: Masks) -> tuple[Masks, Masks]:
    """The channels to keep by layer, and the masks that follow: as few of lowest score go as meet the sparsity.

    The best channel of each layer stays; channels that were removed before, `gone`, stay removed. Raises MaskError.
    """
    _check_scores(scores, whole.weights)
    size = sum(mask.numel() for mask in masks.values())

    def removed(count: int) -> tuple[Masks, Masks]:
        channels = _without(scores, count, gone)
        return channels, thin(whole, masks, channels)

    low, high = 0, sum(len(score) - 1 for score in scores.values())
    while low < high:
        middle = (low + high) // 2
        enough = sum(kept(removed(middle)[1]).values()) <= (1 - sparsity) * size + 1e-6
        low, high = (low, middle) if enough else (middle + 1, high)
    channels, found = removed(low)
    if (left := sum(kept(found).values())) > (1 - sparsity) * size + 1e-6:
        raise MaskError(
            f"a sparsity of {sparsity:.6g} cannot be reached by removing channels of {len(scores)} layers: with one "
            f"left in each, {1 - left / size:.4f} is; ask for less, or choose a network with more of them"
        )
    return channels, found


def gates(whole: Structure, channels: Masks) -> list[tuple[nn.Parameter, Tensor]]:
    """The biases, scales and shifts that belong to channels, and which of their elements are kept."""
    found: list[tuple[nn.Parameter, Tensor]] = []
    for name, channel in channels.items():
        vectors = [_layer(whole.model, name).bias]
        if norm := whole.norms.get(name):
            vectors += [norm.weight, norm.bias]
        found += [(cast(nn.Parameter, vector), channel) for vector in vectors if vector is not None]
    return found


@torch.no_grad()
def thin(whole: Structure, masks: Masks, channels: Masks) -> Masks:
    """Masks without the filters of channels that are gone, and without weights that read nothing but zeros then.

    What reads only zeros is seen in a copy of the network in which all else is positive, when ones stream through it.
    """
    left = {name: mask & _rows(channels[name], mask) if name in channels else mask for name, mask in masks.items()}
    probe = _positive(whole, left, channels)
    seen: dict[str, Tensor] = {}
    for name in left:
        layer = _layer(probe, name)
        layer.register_forward_pre_hook(
            lambda layer, inputs, name=name: seen.update({name: _reached(layer, inputs[0])})
        )
    _pass_ones(probe, whole.shape)
    return {name: mask & _columns(seen[name], mask) if name in seen else mask for name, mask in left.items()}


def _without(scores: Scores, count: int, gone: Masks) -> Masks:
    alive = {name: gone.get(name, torch.ones_like(score, dtype=torch.bool)) for name, score in scores.items()}
    ranked = {name: score.detach().double().masked_fill(~alive[name], -torch.inf) for name, score in scores.items()}
    best = [torch.arange(len(score), device=score.device) == score.argmax() for score in ranked.values()]
    flat = torch.cat([score.masked_fill(top, torch.inf) for score, top in zip(ranked.values(), best, strict=True)])
    stays = torch.ones_like(flat, dtype=torch.bool)
    stays[flat.argsort(stable=True)[:count]] = False
    parts = stays.split([len(score) for score in scores.values()])
    return {**gone, **{name: part & alive[name] for name, part in zip(scores, parts, strict=True)}}


def _check_scores(scores: Scores, weights: Mapping[str, nn.Parameter]) -> None:
    for name, score in scores.items():
        if name not in weights:
            raise MaskError(f"channel scores given for {name!r}, which is no prunable layer; known: {sorted(weights)}")
        if tuple(score.shape) != (len(weights[name]),):
            wanted = len(weights[name])
            raise MaskError(f"layer {name!r} has {wanted} channels, its scores are of shape {tuple(score.shape)}")
        if not bool(score.isfinite().all()):
            raise MaskError(f"scores of the channels of layer {name!r} are NaN or infinite")


def _positive(whole: Structure, masks: Masks, channels: Masks) -> nn.Module:
    """A copy of the network in which what is kept is positive, averaging instead of summing: none overflows."""
    probe = copy.deepcopy(whole.model).double()
    for parameter in probe.parameters():
        parameter.fill_(1)
    for module in probe.modules():
        if isinstance(module, NORMS) and module.running_mean is not None and module.running_var is not None:
            module.running_mean.zero_()
            module.running_var.fill_(1)
            if module.affine:
                module.bias.zero_()
        elif isinstance(module, OTHER_NORMS) and module.weight is not None:
            module.weight.zero_()
    for name, mask in masks.items():
        probe.get_parameter(name).copy_(mask / max(1, mask[0].numel()))
    names = {id(module): name for name, module in whole.model.named_modules()}
    norms = {layer: probe.get_submodule(names[id(norm)]) for layer, norm in whole.norms.items()}
    for vector, channel in gates(Structure(probe, {}, norms, whole.shape), channels):
        vector.mul_(channel)
    return probe


def _reached(layer: nn.Module, inputs: Tensor) -> Tensor:
    """Which input channels, or features, are not all zeros."""
    axis = 1 if isinstance(layer, CONVOLUTIONS) else inputs.ndim - 1
    return inputs.movedim(axis, 0).flatten(1).count_nonzero(1) > 0


def _columns(reached: Tensor, mask: Tensor) -> Tensor:
    """Which weights read an input that is reached; grouped convolutions read a part of them each."""
    if mask.shape[1] * mask.shape[0] < reached.numel() or reached.numel() % mask.shape[1]:
        return torch.ones_like(mask)
    groups = reached.numel() // mask.shape[1]
    rows = reached.view(groups, mask.shape[1]).repeat_interleave(mask.shape[0] // groups, dim=0)
    return rows.view(*rows.shape, *(1 for _ in mask.shape[2:])).expand_as(mask)


def _rows(channel: Tensor, mask: Tensor) -> Tensor:
    return channel.view(-1, *(1 for _ in mask.shape[1:])).expand_as(mask)


@torch.no_grad()
def _pass_ones(model: nn.Module, shape: tuple[int, ...]) -> None:
    like = next(model.parameters())
    with mode(model, training=False):
        model(torch.ones(1, *shape, dtype=like.dtype, device=like.device))


def _has_scales(module: nn.Module) -> bool:
    return isinstance(module, NORMS) and module.affine


def _layer(model: nn.Module, name: str) -> Any:
    return model.get_submodule(name.rpartition(".")[0])
