"""Networks for large images fitted to small ones, and the size of a network's last feature map."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any, cast

import torch
from torch import Tensor, nn

from lth_bench.errors import ModelError
from lth_bench.models.feature_map import SPATIAL, last_feature_map, observing, stems

WANTED = 4  # height and width that the last feature map shall have at least
PROBE = 128  # pixels a side at which every downsampling of a network can be seen

Shape = tuple[int, int, int]


@dataclass(frozen=True)
class Downsampling:
    """Layers that bring maps of one height to the next smaller one: a strided block and its shortcut, say."""

    layers: tuple[str, ...]
    before: int
    after: int

    @property
    def factor(self) -> int:
        return round(self.before / self.after)


def cifar_stem(make: Callable[[int], nn.Module], shape: Shape) -> nn.Module:
    """A network for images of `shape` (channels, height, width), without some of its first downsamplings.

    They are taken away in the order of the network until the last feature map is at least 4×4, or else as many as
    make it largest. A pooling becomes the identity; a convolution loses its stride and is padded to keep the size. A
    kernel that is even, or above 3 in the first downsampling, becomes 3×3: nine of its entries times √(old entries /
    9), which is a draw from the same distribution for the new fan; from fewer entries, a normal distribution of that
    deviation. Biases stay as they were drawn.

    `make(scale)` draws a network for images `scale` times as large, so that inner resolutions, windows and tables of
    positions fit once the downsamplings are gone. It is called several times, always from the state that torch's own
    stream has now. Raises ModelError.
    """
    state = torch.get_rng_state()

    def fitted(removed: Sequence[Downsampling]) -> nn.Module:
        torch.set_rng_state(state)
        model = make(math.prod(downsampling.factor for downsampling in removed))
        for downsampling in removed:
            _remove(model, downsampling, shape, first=downsampling is removed[0])
        return model

    probe = 2 ** max(0, math.ceil(math.log2(PROBE / min(shape[1:]))))
    found = _removable(make(probe), (shape[0], shape[1] * probe, shape[2] * probe))
    best, side = None, 0
    for count in range(len(found) + 1):
        model, reached = _attempt(partial(fitted, found[:count]), shape)
        if reached > side:
            best, side = model, reached
        if side >= WANTED:
            break
    if best is None:
        raise ModelError(f"no downsampling of the network can be taken away so that it takes {_text(shape)} images")
    return best


def small_patches(make: Callable[[int], nn.Module], shape: Shape, patch: int) -> nn.Module:
    """A network of patches of so many pixels a side, where timm's model function fixes another size.

    It is the network for images as many times as large, with a new convolution, drawn as torch draws it, in front. For
    `make` see `cifar_stem`. Raises ModelError.
    """
    state = torch.get_rng_state()
    embedding = _patch_embedding(make(1))
    old = embedding.patch_size[0] if embedding is not None else 0
    if not old or old % patch:
        raise ModelError(f"patches of {patch} pixels do not divide those of {old} that it has")
    torch.set_rng_state(state)
    model = make(old // patch)
    embedding = _patch_embedding(model)
    layer = embedding.proj
    embedding.proj = nn.Conv2d(layer.in_channels, layer.out_channels, patch, patch, bias=layer.bias is not None)
    _resize(embedding, old // patch, shape)
    return model


def _patch_embedding(model: nn.Module) -> Any:
    """The module that cuts images into patches; None if there is none."""
    return next((stem for stem in stems(model) if hasattr(stem, "patch_size") and hasattr(stem, "proj")), None)


def downsamplings(model: nn.Module, inputs: Tensor) -> list[Downsampling]:
    """Those that layers with a stride make of these images, in the order of the network.

    Of several layers that start from one height, those that reduce it least are on the main path; the others belong
    to side branches, such as attention to a coarser map.
    """
    seen: dict[str, tuple[int, int]] = {}

    def note(name: str, before: int, after: int) -> None:
        if after < before:
            seen.setdefault(name, (before, after))

    with observing(model, inputs.device), _heights(model, note):
        model(inputs)
    return [_main_path(seen, before) for before in sorted({before for before, _ in seen.values()}, reverse=True)]


def _main_path(seen: dict[str, tuple[int, int]], height: int) -> Downsampling:
    reduced = {name: after for name, (before, after) in seen.items() if before == height}
    after = max(reduced.values())
    factor = round(height / after)
    layers = tuple(name for name, low in reduced.items() if round(height / low) == factor)
    return Downsampling(layers, height, after)


def _removable(model: nn.Module, shape: Shape) -> list[Downsampling]:
    """The downsamplings before the first one that is not a layer's stride; raises ModelError if there are none."""
    try:
        all_found = downsamplings(model, torch.zeros(1, *shape))
        size = last_feature_map(model, torch.zeros(1, *shape))
    except Exception as error:
        reason = f"{type(error).__name__}: {error}"
        raise ModelError(
            f"the network does not take the {_text(shape)} images that it is probed with: {reason}"
        ) from error
    found, height = [], shape[1]
    for downsampling in all_found:
        if round(height / downsampling.before) > 1:
            break
        found.append(downsampling)
        height = downsampling.after
    if not found:
        raise ModelError("the network does not start with a downsampling by a layer's stride that could be taken away")
    if size is None or (size[0] == found[0].after and _patchify(model, found[0])):
        raise ModelError("the network has no convolutional stem; give it img_size and patch_size instead")
    return found


def _patchify(model: nn.Module, downsampling: Downsampling) -> bool:
    """Whether a downsampling is a convolution of patches that do not overlap."""
    layers = [model.get_submodule(name) for name in downsampling.layers]
    return all(isinstance(layer, nn.Conv2d) and layer.kernel_size == layer.stride for layer in layers)


def _attempt(make: Callable[[], nn.Module], shape: Shape) -> tuple[nn.Module | None, int]:
    """A network and its last feature map's smaller side; 0 if it cannot be made or does not take the image."""
    try:
        model = make()
        return model, min(last_feature_map(model, torch.zeros(1, *shape)) or (0,))
    except Exception:  # timm's models fail in many ways on images that are too small
        return None, 0


def _remove(model: nn.Module, downsampling: Downsampling, shape: Shape, *, first: bool) -> None:
    for name in downsampling.layers:
        layer = model.get_submodule(name)
        owner, _, attribute = name.rpartition(".")
        if isinstance(layer, nn.Conv2d):
            _unstride(layer, largest=3 if first else math.inf)
            _resize(model.get_submodule(owner), downsampling.factor, shape)
        else:
            setattr(model.get_submodule(owner), attribute, nn.Identity())


def _unstride(layer: nn.Conv2d, largest: float) -> None:
    layer.stride = (1, 1)
    if any(side % 2 == 0 or side > largest for side in layer.kernel_size):
        layer.weight = nn.Parameter(_three_by_three(layer.weight.detach()))
        layer.kernel_size = (3, 3)
    rows, columns = (gap * (side // 2) for gap, side in zip(layer.dilation, layer.kernel_size, strict=True))
    layer.padding = (rows, columns)
    layer._reversed_padding_repeated_twice = [columns, columns, rows, rows]


def _three_by_three(weight: Tensor) -> Tensor:
    gain = math.sqrt(weight[0, 0].numel() / 9)
    if min(weight.shape[2:]) >= 3:
        return weight[:, :, :3, :3].clone() * gain
    return torch.randn(*weight.shape[:2], 3, 3) * weight.std() * gain


def _resize(embedding: Any, factor: int, shape: Shape) -> None:
    """Tells a patch embedding that remembers sizes the new ones."""
    if hasattr(embedding, "patch_size"):
        old = embedding.patch_size
        embedding.patch_size = old // factor if isinstance(old, int) else tuple(side // factor for side in old)
    if getattr(embedding, "img_size", None) is not None:
        embedding.img_size = shape[1:]


@contextmanager
def _heights(model: nn.Module, note: Callable[[str, int, int], None]) -> Iterator[None]:
    """Tells `note` the name, the height received and the height returned of every layer with a stride."""

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


def _text(shape: Shape) -> str:
    return f"{shape[0]}×{shape[1]}×{shape[2]}"
