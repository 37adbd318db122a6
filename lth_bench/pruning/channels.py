"""Output channels of prunable layers: which to remove to meet a sparsity, and the weights that go with them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, cast

import torch
from torch import Tensor, nn

from lth_bench.errors import MaskError
from lth_bench.pruning.masks import Masks, Scores, check_tensors, kept
from lth_bench.pruning.zero_flow import Flow, Probe, first_input, has_scales, layer_of, run


@dataclass(frozen=True)
class Structure:
    """A network, its prunable weights, the batch norm that follows each layer, if any, and the shape of its inputs."""

    model: nn.Module
    weights: Mapping[str, nn.Parameter]
    norms: Mapping[str, nn.Module]
    shape: tuple[int, ...]


def structure(model: nn.Module, weights: Mapping[str, nn.Parameter], shape: tuple[int, ...]) -> Structure:
    """The structure of a network for inputs of this shape, C×H×W.

    A norm follows a layer if it has scales and its only input is this layer's unchanged output.
    """
    outputs: list[tuple[str, Tensor]] = []
    sources: dict[nn.Module, set[str | None]] = {}

    def note(name: str) -> Any:
        return lambda layer, inputs, output: outputs.append((name, output))

    def look(norm: nn.Module, inputs: Any, named: Mapping[str, Any]) -> None:
        source = next((name for name, output in outputs if output is first_input(inputs, named)), None)
        sources.setdefault(norm, set()).add(source)

    hooks = [layer_of(model, name).register_forward_hook(note(name)) for name in weights]
    hooks += [norm.register_forward_pre_hook(look, with_kwargs=True) for norm in model.modules() if has_scales(norm)]
    try:
        run(model, torch.ones(1, *shape))
    finally:
        for hook in hooks:
            hook.remove()
    norms = {source: norm for norm, inputs in sources.items() if len(inputs) == 1 for source in inputs}
    return Structure(model, weights, {name: norms[name] for name in weights if name in norms}, shape)


def chosen(whole: Structure, masks: Masks, scores: Scores, sparsity: float, gone: Masks) -> tuple[Masks, Masks]:
    """The channels to keep by layer, and the masks that follow from them.

    As few channels go as meet the sparsity, those of the lowest scores first. The best channel of each layer stays;
    channels that are False in `gone` were removed before and stay removed; ties go to the earlier channel. Raises
    MaskError.
    """
    _check_scores(scores, whole.weights)
    size = sum(mask.numel() for mask in masks.values())
    probe = _probe(whole)

    def removed(count: int) -> tuple[Masks, Masks]:
        channels = remaining(scores, count, gone)
        return channels, _thinned(masks, channels, probe.flow(channels))

    low, high = 0, sum(len(score) - 1 for score in scores.values())
    while low < high:
        middle = (low + high) // 2
        enough = sum(kept(removed(middle)[1]).values()) <= (1 - sparsity) * size + 1e-6
        low, high = (low, middle) if enough else (middle + 1, high)
    channels, thinned = removed(low)
    if (remaining_weights := sum(kept(thinned).values())) > (1 - sparsity) * size + 1e-6:
        raise MaskError(
            f"a sparsity of {sparsity:.6g} cannot be reached by removing channels of {len(scores)} layers: with one "
            f"channel in each, it is {1 - remaining_weights / size:.4f}; ask for less, or choose a wider network"
        )
    return channels, thinned


def remaining(scores: Scores, count: int, gone: Masks) -> Masks:
    """The channels that remain when the `count` of lowest score go, over all layers; the best of each layer remains."""
    alive = {name: gone.get(name, torch.ones_like(score, dtype=torch.bool)) for name, score in scores.items()}
    ranked = {name: score.detach().double().masked_fill(~alive[name], -torch.inf) for name, score in scores.items()}
    best = [torch.arange(len(score), device=score.device) == score.argmax() for score in ranked.values()]
    flat = torch.cat([score.masked_fill(top, torch.inf) for score, top in zip(ranked.values(), best, strict=True)])
    stays = torch.ones_like(flat, dtype=torch.bool)
    stays[flat.argsort(descending=True, stable=True)[len(flat) - count :]] = False
    parts = stays.split([len(score) for score in scores.values()])
    return {**gone, **{name: part & alive[name] for name, part in zip(scores, parts, strict=True)}}


def gates(whole: Structure, channels: Masks) -> list[tuple[nn.Parameter, Tensor]]:
    """The biases, scales and shifts that lose elements, and a mask of the elements that they keep.

    They lose those of removed channels and those of channels that could only be zero otherwise.
    """
    outputs = {**channels, **_probe(whole).flow(channels).outputs}
    vectors = {name: [bias_of(whole.model, name)] for name in whole.weights}
    vectors |= {path: [norm.weight, norm.bias] for path, norm in whole.model.named_modules() if has_scales(norm)}
    pairs = [(vector, outputs[name]) for name, group in vectors.items() if name in outputs for vector in group]
    return [(cast(nn.Parameter, vector), alive) for vector, alive in pairs if vector is not None and not alive.all()]


def thin(whole: Structure, masks: Masks, channels: Masks) -> Masks:
    """Masks without the filters of removed channels and without the weights that then read only zeros."""
    return _thinned(masks, channels, _probe(whole).flow(channels))


def inner(whole: Structure, names: Iterable[str]) -> list[str]:
    """The layers, of those named, to whose channels nothing is added: with a channel go all weights that read it.

    The first convolution of a residual block is one; its last convolution is not, nor is the stem before the blocks.
    """
    probe = _probe(whole)
    nothing = {name: torch.zeros(len(weight), dtype=torch.bool) for name, weight in whole.weights.items()}
    all_alive, none_alive = (probe.flow(channels).inputs for channels in ({}, nothing))

    def is_inner(name: str) -> bool:
        first = torch.arange(len(whole.weights[name])) == 0
        without, alone = (probe.flow(channels).inputs for channels in ({name: ~first}, {**nothing, name: first}))
        shortened = any(bool((alive & ~without[layer]).any()) for layer, alive in all_alive.items())
        elsewhere = {layer: alive & ~none_alive[layer] & without[layer] for layer, alive in alone.items()}
        return shortened and not any(bool(alive.any()) for alive in elsewhere.values())

    return [name for name in names if is_inner(name)]


def _probe(whole: Structure) -> Probe:
    return Probe(whole.model, whole.weights, whole.shape)


def _thinned(masks: Masks, channels: Masks, flow: Flow) -> Masks:
    rows = {name: mask & _rows(channels[name], mask) if name in channels else mask for name, mask in masks.items()}
    return {
        name: mask & _columns(flow.inputs[name], mask) if name in flow.inputs else mask for name, mask in rows.items()
    }


def _check_scores(scores: Scores, weights: Mapping[str, nn.Parameter]) -> None:
    check_tensors(scores, "scores")
    for name, score in scores.items():
        if name not in weights:
            raise MaskError(f"channel scores given for {name!r}, which is no prunable layer; known: {sorted(weights)}")
        if tuple(score.shape) != (len(weights[name]),):
            count = len(weights[name])
            raise MaskError(f"layer {name!r} has {count} channels, its scores have shape {tuple(score.shape)}")
        if not bool(score.isfinite().all()):
            raise MaskError(f"scores of the channels of layer {name!r} are NaN or infinite")


def _columns(alive: Tensor, mask: Tensor) -> Tensor:
    """Which weights read an input channel that is alive; each group of a grouped convolution reads its own part."""
    groups = alive.numel() // mask.shape[1]
    rows = alive.view(groups, mask.shape[1]).repeat_interleave(mask.shape[0] // groups, dim=0)
    return rows.view(*rows.shape, *(1 for _ in mask.shape[2:])).expand_as(mask)


def _rows(channel: Tensor, mask: Tensor) -> Tensor:
    return channel.view(-1, *(1 for _ in mask.shape[1:])).expand_as(mask)


def bias_of(model: nn.Module, name: str) -> Any:
    """The bias beside a weight, if any; attention calls that of its fused projection `in_proj_bias`."""
    return getattr(layer_of(model, name), name.rpartition(".")[2].replace("weight", "bias"), None)
