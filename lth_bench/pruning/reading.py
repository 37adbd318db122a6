"""Which layer and norm of a network reads which output channel of which layer, found by passing numbers through it."""

from __future__ import annotations

import copy
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from lth_bench.errors import Unsuitable
from lth_bench.models.layer_roles import PRUNABLE
from lth_bench.pruning.zero_flow import first_input, has_scales, layer_of, run

SAME = 1e-9  # sums in another order differ by less, read channels by more

Numbers = np.ndarray[Any, np.dtype[np.int64]]


@dataclass(frozen=True)
class Consumer:
    """What reads channels: a layer, by the name of its weight, or a batch norm, by its own."""

    name: str
    is_norm: bool


@dataclass(frozen=True)
class Read:
    """The channel of a layer that a consumer reads at each place of its input, -1 where it reads none of them."""

    consumer: Consumer
    layer: str
    channels: Numbers


def reads(model: nn.Module, layers: Mapping[str, int], shape: tuple[int, ...]) -> Iterator[Read]:
    """All that reads one of these layers, by name with their number of output channels, for inputs C×H×W.

    Raises Unsuitable for layers that read or give anything but whole channels one by one.
    """
    for name in layers:
        layer = layer_of(model, name)
        if not isinstance(layer, PRUNABLE):
            raise fixed(name, "belongs to attention")
        if getattr(layer, "groups", 1) > 1:
            raise fixed(name, "is a grouped convolution")
    tracer = _Tracer(model, layers, shape)
    for name, size in layers.items():
        yield from _read(name, size, tracer)


def fixed(name: str, why: str) -> Unsuitable:
    """The error of a layer whose channels may not change places."""
    return Unsuitable(
        f"{name!r} {why}, so that its hidden units cannot change places; take the control redraw, or a network of "
        "linear layers, whole convolutions and batch norm"
    )


def _read(name: str, size: int, tracer: _Tracer) -> Iterator[Read]:
    """Finds the numbers of channels digit by digit: each digit by the channels that have it and those that do not."""
    numbers, digits = torch.arange(size), range((size - 1).bit_length())
    halves = [half for digit in digits for half in (numbers >> digit & 1 == 1, numbers >> digit & 1 == 0)]
    rows = torch.stack([numbers < 0, numbers >= 0, *halves])
    for consumer, reached in tracer.reached(name, rows).items():
        somewhere = reached.any(axis=0)
        channels = np.where(somewhere, 0, -1)
        for digit, ones, zeros in zip(digits, reached[2::2], reached[3::2], strict=True):
            if (ones == zeros)[somewhere].any():
                raise fixed(name, f"has channels of which {consumer.name!r} reads a mixture")
            channels[ones] += 1 << digit
        if somewhere.any():
            yield Read(consumer, name, channels)


class _Tracer:
    """A copy of a network in which every layer is silent but one, which gives the channels that it is told to.

    All other parameters are positive and batch norm is the identity, so that nothing is lost on the way.
    """

    @torch.no_grad()
    def __init__(self, model: nn.Module, layers: Iterable[str], shape: tuple[int, ...]) -> None:
        self._model = copy.deepcopy(model).cpu().double()
        self._image = torch.ones(1, *shape, dtype=torch.float64)
        self._speaks, self._rows = "", torch.zeros(0)
        self._reached: dict[Consumer, Any] = {}
        self._shapes: dict[tuple[str, torch.Size], torch.Size] = {}
        for parameter in self._model.parameters():
            parameter.abs_().add_(0.5)
        for name, norm in self._model.named_modules():
            if has_scales(norm):
                norm.register_forward_pre_hook(partial(self._note, Consumer(name, is_norm=True), 1), with_kwargs=True)
                norm.register_forward_hook(_identity, with_kwargs=True)
        self._replace(layers)

    def reached(self, name: str, rows: Tensor) -> dict[Consumer, Any]:
        """By consumer, rows × places, where its input differs from that of the first row of channels."""
        self._speaks, self._rows, self._reached = name, rows, {}
        run(self._model, self._image.repeat(len(rows), *(1 for _ in self._image.shape[1:])))
        return self._reached

    def _replace(self, names: Iterable[str]) -> None:
        """Puts what speaks or is silent in place of layers, with outputs of the shapes that theirs had."""
        layers = {name: layer_of(self._model, name) for name in names}
        hooks = [layer.register_forward_hook(partial(self._measure, name)) for name, layer in layers.items()]
        run(self._model, self._image)
        for hook in hooks:
            hook.remove()
        for name, layer in layers.items():
            axis = -1 if isinstance(layer, nn.Linear) else 1
            layer.register_forward_pre_hook(partial(self._note, Consumer(name, is_norm=False), axis), with_kwargs=True)
            layer.forward = partial(self._speak, name, axis)

    def _measure(self, name: str, layer: nn.Module, inputs: tuple[Tensor], output: Tensor) -> None:
        self._shapes[name, inputs[0].shape[1:]] = output.shape[1:]

    def _speak(self, name: str, axis: int, value: Tensor) -> Tensor:
        shape = self._shapes[name, value.shape[1:]]
        if name != self._speaks:
            return value.new_zeros(len(value), *shape)
        if len(value) != len(self._rows):
            raise fixed(name, "sees images in parts")
        rows = self._rows.view(len(value), *(1 for _ in shape[1:]), -1).movedim(-1, axis)
        return rows.to(value).expand(len(value), *shape).clone()

    def _note(self, consumer: Consumer, axis: int, module: nn.Module, inputs: Any, named: Mapping[str, Any]) -> None:
        value = first_input(inputs, named).movedim(axis, 1)
        reached = ((value - value[:1]).abs() > SAME).reshape(*value.shape[:2], -1).any(2).numpy()
        self._reached[consumer] = reached | self._reached.get(consumer, False)


def _identity(norm: nn.Module, inputs: Any, named: Mapping[str, Any], output: Tensor) -> Tensor:
    return first_input(inputs, named)
