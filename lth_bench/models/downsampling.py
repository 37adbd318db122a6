"""The downsamplings that a network makes by layers with a stride."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, cast

from torch import Tensor, nn

from lth_bench.models.feature_map import SPATIAL, observing


@dataclass(frozen=True)
class Downsampling:
    """Layers that reduce maps from one height to the next: a strided block and its shortcut, for instance."""

    layers: tuple[str, ...]
    before: int
    after: int

    @property
    def factor(self) -> int:
        return round(self.before / self.after)


def downsamplings(model: nn.Module, inputs: Tensor) -> list[Downsampling]:
    """The downsamplings of these images by layers with a stride, in the order of the network.

    Of several layers that start from one height, those that reduce it least are on the main path; the others belong
    to side branches, such as attention to a coarser map.
    """
    heights: dict[str, tuple[int, int]] = {}

    def note(name: str, before: int, after: int) -> None:
        if after < before:
            heights.setdefault(name, (before, after))

    with observing(model, inputs.device), _heights(model, note):
        model(inputs)
    return [_main_path(heights, start) for start in sorted({before for before, _ in heights.values()}, reverse=True)]


def is_patchify(model: nn.Module, downsampling: Downsampling) -> bool:
    """Whether all layers of a downsampling are convolutions of patches that do not overlap."""
    layers = [model.get_submodule(name) for name in downsampling.layers]
    return all(isinstance(layer, nn.Conv2d) and layer.kernel_size == layer.stride for layer in layers)


def _main_path(heights: dict[str, tuple[int, int]], height: int) -> Downsampling:
    """The downsampling that starts from a height, of layers with their heights before and after."""
    reduced = {name: after for name, (before, after) in heights.items() if before == height}
    after = max(reduced.values())
    factor = round(height / after)
    layers = tuple(name for name, low in reduced.items() if round(height / low) == factor)
    return Downsampling(layers, height, after)


@contextmanager
def _heights(model: nn.Module, note: Callable[[str, int, int], None]) -> Iterator[None]:
    """Inside, `note` gets the name of every layer with a stride, and the heights of its input and output."""

    def hook(name: str) -> Callable[[nn.Module, tuple[Tensor], Tensor], None]:
        return lambda _, received, output: note(name, received[0].shape[-2], output.shape[-2])

    layers = [(name, layer) for name, layer in model.named_modules() if isinstance(layer, SPATIAL)]
    handles = [layer.register_forward_hook(hook(name)) for name, layer in layers if _stride(layer) > 1]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


def _stride(layer: nn.Module) -> int:
    stride = cast(Any, layer).stride
    return stride if isinstance(stride, int) else max(stride)
