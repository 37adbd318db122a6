"""Output channels of prunable layers: which go to meet a sparsity, and what goes with them."""

from __future__ import annotations

import copy
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any, cast

import torch
from torch import Tensor, nn

from lth_bench.errors import MaskError
from lth_bench.models.timm_models import PRUNABLE, mode
from lth_bench.pruning.masks import Masks, kept

NORMS = (nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d, nn.SyncBatchNorm)
OTHER_NORMS = (nn.LayerNorm, nn.GroupNorm, nn.InstanceNorm1d, nn.InstanceNorm2d, nn.InstanceNorm3d)
Scores = Mapping[str, Tensor]


@dataclass(frozen=True)
class Structure:
    """A network, its prunable weights, the batch norms that follow them by layer, and the shape of its inputs."""

    model: nn.Module
    weights: Mapping[str, nn.Parameter]
    norms: Mapping[str, nn.Module]
    shape: tuple[int, ...]


@dataclass(frozen=True)
class Flow:
    """What can be other than zero: by layer, its input channels; by layer and by norm, its output channels."""

    inputs: Masks
    outputs: Masks


def structure(model: nn.Module, weights: Mapping[str, nn.Parameter], shape: tuple[int, ...]) -> Structure:
    """The structure of a network; a norm follows a layer if it has scales and takes this layer's output as it is.

    A norm that takes anything else as well follows none.
    """
    outputs: list[tuple[str, Tensor]] = []
    sources: dict[nn.Module, set[str | None]] = {}

    def note(name: str) -> Any:
        return lambda layer, inputs, output: outputs.append((name, output))

    def look(norm: nn.Module, inputs: Any, named: Mapping[str, Any]) -> None:
        source = next((name for name, output in outputs if output is _first(inputs, named)), None)
        sources.setdefault(norm, set()).add(source)

    hooks = [_layer(model, name).register_forward_hook(note(name)) for name in weights]
    hooks += [norm.register_forward_pre_hook(look, with_kwargs=True) for norm in model.modules() if _has_scales(norm)]
    try:
        _pass(model, torch.ones(1, *shape))
    finally:
        for hook in hooks:
            hook.remove()
    norms = {source: norm for norm, found in sources.items() if len(found) == 1 for source in found}
    return Structure(model, weights, {name: norms[name] for name in weights if name in norms}, shape)


def chosen(whole: Structure, masks: Masks, scores: Scores, sparsity: float, gone: Masks) -> tuple[Masks, Masks]:
    """The channels to keep by layer, and the masks that follow: as few of lowest score go as meet the sparsity.

    The best channel of each layer stays; channels that were removed before, those that are False in `gone`, stay
    removed; ties go to the earlier channel. Raises MaskError.
    """
    _check_scores(scores, whole.weights)
    size = sum(mask.numel() for mask in masks.values())
    probe = _Probe(whole)

    def removed(count: int) -> tuple[Masks, Masks]:
        channels = remaining(scores, count, gone)
        return channels, _thinned(masks, channels, probe.flow(channels))

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


def remaining(scores: Scores, count: int, gone: Masks) -> Masks:
    """The channels that stay when `count` of lowest score go over all layers, but for the best of each layer."""
    alive = {name: gone.get(name, torch.ones_like(score, dtype=torch.bool)) for name, score in scores.items()}
    ranked = {name: score.detach().double().masked_fill(~alive[name], -torch.inf) for name, score in scores.items()}
    best = [torch.arange(len(score), device=score.device) == score.argmax() for score in ranked.values()]
    flat = torch.cat([score.masked_fill(top, torch.inf) for score, top in zip(ranked.values(), best, strict=True)])
    stays = torch.ones_like(flat, dtype=torch.bool)
    stays[flat.argsort(descending=True, stable=True)[len(flat) - count :]] = False
    parts = stays.split([len(score) for score in scores.values()])
    return {**gone, **{name: part & alive[name] for name, part in zip(scores, parts, strict=True)}}


def gates(whole: Structure, channels: Masks) -> list[tuple[nn.Parameter, Tensor]]:
    """The biases, scales and shifts that go with channels, and which of their elements are kept.

    Those of removed channels, and those that nothing but zeros would pass through.
    """
    outputs = {**channels, **_Probe(whole).flow(channels).outputs}
    vectors = {name: [_bias(whole.model, name)] for name in whole.weights}
    vectors |= {path: [norm.weight, norm.bias] for path, norm in whole.model.named_modules() if _has_scales(norm)}
    pairs = [(vector, outputs[name]) for name, found in vectors.items() if name in outputs for vector in found]
    return [(cast(nn.Parameter, vector), alive) for vector, alive in pairs if vector is not None and not alive.all()]


def thin(whole: Structure, masks: Masks, channels: Masks) -> Masks:
    """Masks without the filters of channels that are gone, and without weights that read nothing but zeros then."""
    return _thinned(masks, channels, _Probe(whole).flow(channels))


def inner(whole: Structure, names: Iterable[str]) -> list[str]:
    """The layers, of those named, whose channels nothing else is added to: with a channel goes all that reads it.

    So is the first convolution of a residual block, but neither its last one nor what the first block is added to.
    """
    probe = _Probe(whole)
    nothing = {name: torch.zeros(len(weight), dtype=torch.bool) for name, weight in whole.weights.items()}
    all_alive, none_alive = (probe.flow(channels).inputs for channels in ({}, nothing))

    def is_inner(name: str) -> bool:
        first = torch.arange(len(whole.weights[name])) == 0
        without, alone = (probe.flow(channels).inputs for channels in ({name: ~first}, {**nothing, name: first}))
        shortened = any(bool((alive & ~without[layer]).any()) for layer, alive in all_alive.items())
        elsewhere = {layer: alive & ~none_alive[layer] & without[layer] for layer, alive in alone.items()}
        return shortened and not any(bool(alive.any()) for alive in elsewhere.values())

    return [name for name in names if is_inner(name)]


class _Probe:
    """A copy of a network that shows where zeros go.

    It is passed a random positive image, its weights are random and positive, and batch norm passes on what it gets: so
    what is zero in it is zero because of what was removed. Layer norm and its kin make other than zero of zeros, and so
    do biases; those of prunable layers and of batch norm do not count, since they go with their channel.
    """

    @torch.no_grad()
    def __init__(self, whole: Structure) -> None:
        self._model = copy.deepcopy(whole.model)
        self._channels: Masks = {}
        self._inputs: Masks = {}
        self._outputs: Masks = {}
        draws = torch.Generator().manual_seed(0)
        for parameter in self._model.parameters():
            parameter.copy_(_positive(parameter.shape, draws))
        self._image = _positive((1, *whole.shape), draws)
        for name in whole.weights:
            self._follow_layer(name, _layer(self._model, name))
        for path, module in self._model.named_modules():
            if isinstance(module, (*NORMS, *OTHER_NORMS)):
                module.register_forward_hook(partial(self._pass_on, path), with_kwargs=True)

    def flow(self, channels: Masks) -> Flow:
        """What can be other than zero when of these layers only these channels are left."""
        self._channels, self._inputs, self._outputs = channels, {}, {}
        _pass(self._model, self._image)
        return Flow(self._inputs, self._outputs)

    def _follow_layer(self, name: str, layer: Any) -> None:
        if not isinstance(layer, PRUNABLE):
            return
        if layer.bias is not None:
            layer.bias.zero_()
        layer.register_forward_pre_hook(partial(self._read, name), with_kwargs=True)
        layer.register_forward_hook(partial(self._write, name))

    def _read(self, name: str, layer: nn.Module, inputs: Any, named: Mapping[str, Any]) -> None:
        _note(self._inputs, name, _first(inputs, named), _axis(layer))

    def _write(self, name: str, layer: nn.Module, inputs: Any, output: Tensor) -> Tensor:
        """Numbers stay positive and about one, so that none is lost to a ReLU or in a deep network."""
        output = output.abs() / output.abs().amax().clamp(min=torch.finfo(output.dtype).tiny)
        if name in self._channels:
            kept = self._channels[name].to(output.device)
            output = output.movedim(_axis(layer), -1).mul(kept).movedim(-1, _axis(layer))
        _note(self._outputs, name, output, _axis(layer))
        return output

    def _pass_on(self, path: str, norm: nn.Module, *passed: Any) -> Tensor:
        inputs, named, output = passed
        if not _has_scales(norm):
            return _positive(output.shape, torch.Generator().manual_seed(0)).to(output)
        value = _first(inputs, named)
        _note(self._outputs, path, value, 1)
        return value


def _thinned(masks: Masks, channels: Masks, flow: Flow) -> Masks:
    rows = {name: mask & _rows(channels[name], mask) if name in channels else mask for name, mask in masks.items()}
    return {
        name: mask & _columns(flow.inputs[name], mask) if name in flow.inputs else mask for name, mask in rows.items()
    }


def _check_scores(scores: Scores, weights: Mapping[str, nn.Parameter]) -> None:
    for name, score in scores.items():
        if name not in weights:
            raise MaskError(f"channel scores given for {name!r}, which is no prunable layer; known: {sorted(weights)}")
        if tuple(score.shape) != (len(weights[name]),):
            wanted = len(weights[name])
            raise MaskError(f"layer {name!r} has {wanted} channels, its scores are of shape {tuple(score.shape)}")
        if not bool(score.isfinite().all()):
            raise MaskError(f"scores of the channels of layer {name!r} are NaN or infinite")


def _first(inputs: tuple[Any, ...], named: Mapping[str, Any]) -> Tensor:
    """What a module is called with, by place or by name."""
    return cast(Tensor, next(iter((*inputs, *named.values()))))


def _note(found: Masks, name: str, value: Tensor, axis: int) -> None:
    """Adds which channels of a value are not all zeros."""
    alive = value.movedim(axis, 0).flatten(1).count_nonzero(1) > 0
    found[name] = found[name] | alive if name in found else alive


def _columns(alive: Tensor, mask: Tensor) -> Tensor:
    """Which weights read an input channel that is alive; grouped convolutions read a part of them each."""
    groups = alive.numel() // mask.shape[1]
    rows = alive.view(groups, mask.shape[1]).repeat_interleave(mask.shape[0] // groups, dim=0)
    return rows.view(*rows.shape, *(1 for _ in mask.shape[2:])).expand_as(mask)


def _rows(channel: Tensor, mask: Tensor) -> Tensor:
    return channel.view(-1, *(1 for _ in mask.shape[1:])).expand_as(mask)


def _positive(shape: tuple[int, ...], draws: torch.Generator) -> Tensor:
    return torch.rand(shape, generator=draws) + 0.5


@torch.no_grad()
def _pass(model: nn.Module, images: Tensor) -> None:
    like = next(model.parameters())
    with mode(model, training=False):
        model(images.to(like.device, like.dtype))


def _axis(layer: nn.Module) -> int:
    """Where a layer has its channels: linear layers have them last."""
    return -1 if isinstance(layer, nn.Linear) else 1


def _has_scales(module: nn.Module) -> bool:
    return isinstance(module, NORMS) and module.affine


def _layer(model: nn.Module, name: str) -> Any:
    return model.get_submodule(name.rpartition(".")[0])


def _bias(model: nn.Module, name: str) -> Any:
    """The bias that goes with a weight, if any; attention calls that of its fused projection `in_proj_bias`."""
    return getattr(_layer(model, name), name.rpartition(".")[2].replace("weight", "bias"), None)
