"""Which output channels of a network's layers are which inputs of other layers, told by where zeros go."""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from graphlib import CycleError, TopologicalSorter

import torch
from torch import Tensor

from lth_bench.errors import Unsuitable
from lth_bench.models.layer_roles import PRUNABLE, output_layer
from lth_bench.pruning.channels import Structure
from lth_bench.pruning.masks import Masks
from lth_bench.pruning.zero_flow import NORMS, channel_axis, layer_of, run

NOTHING, IMAGE, CODES = 0, 1, 2  # examples of a pass: without any input, of an image, and from here on bits of channels


@dataclass(frozen=True)
class Wiring:
    """The connections between prunable layers, through all that mixes no channels: norms, pooling, additions.

    `order` has every layer behind those that it reads. `channels` says by reader and writer which channel of the
    writer each input of the reader is, -1 for none; `image` by layer which of its inputs come from the image.
    """

    order: list[str]
    channels: Mapping[str, Mapping[str, Tensor]]
    image: Masks

    def readers(self, writer: str) -> dict[str, Tensor]:
        """By reader, the channel of this layer that each of its inputs is."""
        return {reader: writers[writer] for reader, writers in self.channels.items() if writer in writers}

    def behind(self, start: str) -> set[str]:
        """The layers to which a path goes from this one."""
        found: set[str] = set()
        for name in self.order:
            if any(writer == start or writer in found for writer in self.channels[name]):
                found.add(name)
        return found


def wiring(whole: Structure) -> Wiring:
    """The wiring of a network. Raises Unsuitable where it cannot be told."""
    emitter = Emitter(whole)
    channels: dict[str, dict[str, Tensor]] = {name: {} for name in whole.weights}
    for writer in whole.weights:
        for reader, alive in emitter.emitted(writer).items():
            if (read := _decoded(alive, writer, reader)) is not None:
                channels[reader][writer] = read
    image = {reader: alive[IMAGE] for reader, alive in emitter.seen.items()}
    try:
        order = list(TopologicalSorter(channels).static_order())
    except CycleError:
        raise untold(next(iter(channels)), "reads what it has computed itself") from None
    found = Wiring(order, channels, image)
    _check_complete(found, {name: len(weight) for name, weight in whole.weights.items()}, output_layer(whole.model))
    return found


class Emitter:
    """A copy of a network in which layers put out given patterns in place of what they compute; batch norm is neutral.

    `seen` says by layer which of its inputs were other than zero in the last pass, examples × inputs.
    """

    @torch.no_grad()
    def __init__(self, whole: Structure) -> None:
        self._model, self._shape, self._weights = copy.deepcopy(whole.model), whole.shape, whole.weights
        self._writer, self._pattern = "", torch.empty(0)
        self.seen: Masks = {}
        for parameter in self._model.parameters():
            parameter.fill_(1.0)
        for module in self._model.modules():
            if isinstance(module, NORMS):
                module.reset_parameters()
        for name in whole.weights:
            if isinstance(layer := layer_of(self._model, name), PRUNABLE):
                emit = partial(self._emit, name, channel_axis(layer), layer.forward)
                layer.forward = emit  # type: ignore[method-assign]

    def emitted(self, writer: str) -> Masks:
        """What all layers see when this one alone puts something out: channels by each bit of their numbers."""
        numbers = torch.arange(len(self._weights[writer]))
        bits = [(numbers >> bit) % 2 == 1 for bit in range(max(len(numbers) - 1, 1).bit_length())]
        nothing = torch.zeros_like(bits[0])
        self._writer, self.seen = writer, {}
        self._pattern = torch.stack([nothing, nothing, *(half for bit in bits for half in (bit, ~bit))])
        images = torch.zeros(len(self._pattern), *self._shape)
        images[IMAGE] = 1.0
        run(self._model, images)
        if unseen := [name for name in self._weights if name not in self.seen]:
            raise untold(unseen[0], "is not called as a linear or convolution layer of its own")
        return self.seen

    def _emit(self, name: str, axis: int, forward: Callable[[Tensor], Tensor], inputs: Tensor) -> Tensor:
        if name in self.seen or len(inputs) != len(self._pattern):
            raise untold(name, "is not called exactly once for an image")
        self.seen[name] = (inputs != 0).movedim(axis, 1).reshape(*_sizes(inputs, axis), -1).any(2).cpu()
        if bool(self.seen[name][NOTHING].any()):
            raise untold(name, "sees more than the image and what other layers put out")
        output = torch.zeros_like(forward(inputs[:1])).repeat(len(inputs), *[1] * (inputs.ndim - 1))
        if name == self._writer:
            pattern = self._pattern.to(output)
            output = output.movedim(axis, -1) + pattern.view(len(inputs), *[1] * (output.ndim - 2), -1)
            output = output.movedim(-1, axis)
        return output


def untold(layer: str, why: str) -> Unsuitable:
    """The refusal of a network in which this layer does something that wiring does not know."""
    return Unsuitable(
        f"the paths through this network cannot be told, as layer {layer!r} {why}; take a network of linear and "
        "convolution layers, batch norms and additions, or a method that follows no paths"
    )


def _sizes(inputs: Tensor, axis: int) -> tuple[int, int]:
    return len(inputs), inputs.shape[axis]


def _decoded(alive: Tensor, writer: str, reader: str) -> Tensor | None:
    """The channel that each input of a reader is, -1 for none; None if it reads no channel at all."""
    ones, zeros = alive[CODES::2], alive[CODES + 1 :: 2]
    read = ones[0] | zeros[0]
    if bool((ones & zeros).any()) or not bool((ones | zeros == read).all()):
        raise untold(writer, f"puts out channels that {reader!r} does not see one by one")
    if not bool(read.any()):
        return None
    numbers = (ones.long() << torch.arange(len(ones))[:, None]).sum(0)
    return numbers.masked_fill(~read, -1)


def _check_complete(found: Wiring, sizes: Mapping[str, int], output: str) -> None:
    for name, size in sizes.items():
        read = {int(channel) for channels in found.readers(name).values() for channel in channels if channel >= 0}
        if len(read) < size and name != output:
            raise untold(name, "puts out channels that no other layer reads")
        written = [channels >= 0 for channels in found.channels[name].values()]
        if not bool(torch.stack([found.image[name], *written]).any(0).all()):
            raise untold(name, "has inputs that come neither from the image nor from a layer")
