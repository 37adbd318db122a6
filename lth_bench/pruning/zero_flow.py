"""Where zeros go in a network: the channels that can be other than zero once some channels are removed."""

from __future__ import annotations

import copy
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any, cast

import torch
from torch import Tensor, nn

from lth_bench.models.layer_roles import PRUNABLE
from lth_bench.models.modes import mode
from lth_bench.pruning.masks import Masks

NORMS = (nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d, nn.SyncBatchNorm)
OTHER_NORMS = (nn.LayerNorm, nn.GroupNorm, nn.InstanceNorm1d, nn.InstanceNorm2d, nn.InstanceNorm3d)


@dataclass(frozen=True)
class Flow:
    """The channels that can be other than zero: input channels by layer, output channels by layer and by norm."""

    inputs: Masks
    outputs: Masks


class Probe:
    """A copy of a network that shows where zeros go.

    The image and all weights are random and positive, and batch norm is the identity, so that a zero can only come from
    a removed channel. Layer norm and its kin turn zeros into other values, and so do biases, except those of prunable
    layers and of batch norm, which go with their channel.
    """

    @torch.no_grad()
    def __init__(self, model: nn.Module, layers: Iterable[str], shape: tuple[int, ...]) -> None:
        self._model = copy.deepcopy(model)
        self._channels: Masks = {}
        self._inputs: Masks = {}
        self._outputs: Masks = {}
        draws = torch.Generator().manual_seed(0)
        for parameter in self._model.parameters():
            parameter.copy_(_positive(parameter.shape, draws))
        self._image = _positive((1, *shape), draws)
        for name in layers:
            self._follow_layer(name, layer_of(self._model, name))
        for path, module in self._model.named_modules():
            if isinstance(module, (*NORMS, *OTHER_NORMS)):
                module.register_forward_hook(partial(self._pass_on, path), with_kwargs=True)

    def flow(self, channels: Masks) -> Flow:
        """The channels that can be other than zero when these layers have only these channels."""
        self._channels, self._inputs, self._outputs = channels, {}, {}
        run(self._model, self._image)
        return Flow(self._inputs, self._outputs)

    def _follow_layer(self, name: str, layer: Any) -> None:
        if not isinstance(layer, PRUNABLE):
            return
        if layer.bias is not None:
            layer.bias.zero_()
        layer.register_forward_pre_hook(partial(self._read, name), with_kwargs=True)
        layer.register_forward_hook(partial(self._write, name))

    def _read(self, name: str, layer: nn.Module, inputs: Any, named: Mapping[str, Any]) -> None:
        _note(self._inputs, name, first_input(inputs, named), channel_axis(layer))

    def _write(self, name: str, layer: nn.Module, inputs: Any, output: Tensor) -> Tensor:
        """Keeps outputs positive and at most one, so that none vanishes in a ReLU or overflows in a deep network."""
        output = output.abs() / output.abs().amax().clamp(min=torch.finfo(output.dtype).tiny)
        if name in self._channels:
            kept = self._channels[name].to(output.device)
            output = output.movedim(channel_axis(layer), -1).mul(kept).movedim(-1, channel_axis(layer))
        _note(self._outputs, name, output, channel_axis(layer))
        return output

    def _pass_on(self, path: str, norm: nn.Module, *passed: Any) -> Tensor:
        inputs, named, output = passed
        if not has_scales(norm):
            return _positive(output.shape, torch.Generator().manual_seed(0)).to(output)
        value = first_input(inputs, named)
        _note(self._outputs, path, value, 1)
        return value


def layer_of(model: nn.Module, name: str) -> Any:
    """The layer that has the weight of this name."""
    return model.get_submodule(name.rpartition(".")[0])


def has_scales(module: nn.Module) -> bool:
    """Whether a module is a batch norm with a scale for each channel."""
    return isinstance(module, NORMS) and module.affine


def first_input(inputs: tuple[Any, ...], named: Mapping[str, Any]) -> Tensor:
    """The first argument of a module's call, by position or by name."""
    return cast(Tensor, next(iter((*inputs, *named.values()))))


@torch.no_grad()
def run(model: nn.Module, images: Tensor) -> None:
    """Passes images through a network in evaluation mode, so that its hooks run."""
    like = next(model.parameters())
    with mode(model, training=False):
        model(images.to(like.device, like.dtype))


def _note(alive_channels: Masks, name: str, value: Tensor, axis: int) -> None:
    """Adds to the entry of `name` the channels of a value, along `axis`, that are not all zero."""
    alive = value.movedim(axis, 0).flatten(1).count_nonzero(1) > 0
    alive_channels[name] = alive_channels[name] | alive if name in alive_channels else alive


def channel_axis(layer: nn.Module) -> int:
    """The axis of a layer's channels: the last for linear layers."""
    return -1 if isinstance(layer, nn.Linear) else 1


def _positive(shape: tuple[int, ...], draws: torch.Generator) -> Tensor:
    return torch.rand(shape, generator=draws) + 0.5
