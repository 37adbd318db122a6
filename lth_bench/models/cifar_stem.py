"""Networks for large images without their first downsamplings, for small images."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from functools import partial

import torch
from torch import Tensor, nn

from lth_bench.errors import ModelError
from lth_bench.models.downsampling import Downsampling, downsamplings, is_patchify
from lth_bench.models.feature_map import last_feature_map
from lth_bench.models.patch_embedding import resize_embedding

SMALLEST = 4  # height and width that the last feature map should have at least
PROBE = 128  # pixels a side at which every downsampling of a network shows

Shape = tuple[int, int, int]


def cifar_stem(make: Callable[[int], nn.Module], shape: Shape) -> nn.Module:
    """A network for images of `shape` (channels, height, width), without some of its first downsamplings.

    Downsamplings are removed in the order of the network until the last feature map is at least 4×4; if none of these
    networks reaches that, the one with the largest map is returned. A pooling becomes the identity; a convolution loses
    its stride and is padded to keep the size of the map. A kernel of even size, or larger than 3 in the first
    downsampling, becomes 3×3: nine of its entries times √(old entries / 9), which is a draw from the same distribution
    for the new fan-in, or, if it has fewer, draws from a normal distribution of that deviation. Biases stay as drawn.

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
    removable = _removable(make(probe), (shape[0], shape[1] * probe, shape[2] * probe))
    best, largest = None, 0
    for count in range(len(removable) + 1):
        model, side = _attempt(partial(fitted, removable[:count]), shape)
        if side > largest:
            best, largest = model, side
        if largest >= SMALLEST:
            break
    if best is None:
        raise ModelError(f"no downsampling of the network can be removed so that it takes {_text(shape)} images")
    return best


def _removable(model: nn.Module, shape: Shape) -> list[Downsampling]:
    """The downsamplings up to the first one that no layer's stride makes; raises ModelError if there are none."""
    try:
        strided = downsamplings(model, torch.zeros(1, *shape))
        size = last_feature_map(model, torch.zeros(1, *shape))
    except Exception as error:
        reason = f"{type(error).__name__}: {error}"
        raise ModelError(
            f"the network does not take the {_text(shape)} images that it is probed with: {reason}"
        ) from error
    removable, height = [], shape[1]
    for downsampling in strided:
        if round(height / downsampling.before) > 1:
            break
        removable.append(downsampling)
        height = downsampling.after
    if not removable:
        raise ModelError("the network does not start with a downsampling by a layer's stride that could be removed")
    if size is None or (size[0] == removable[0].after and is_patchify(model, removable[0])):
        raise ModelError("the network has no convolutional stem; give it img_size and patch_size instead")
    return removable


def _attempt(make: Callable[[], nn.Module], shape: Shape) -> tuple[nn.Module | None, int]:
    """A network and the smaller side of its last feature map; None and 0 if it cannot be made or run."""
    try:
        model = make()
        return model, min(last_feature_map(model, torch.zeros(1, *shape)) or (0,))
    except Exception:  # timm's models raise many kinds of errors on images that are too small
        return None, 0


def _remove(model: nn.Module, downsampling: Downsampling, shape: Shape, *, first: bool) -> None:
    for name in downsampling.layers:
        layer = model.get_submodule(name)
        owner, _, attribute = name.rpartition(".")
        if isinstance(layer, nn.Conv2d):
            _unstride(layer, largest=3 if first else math.inf)
            resize_embedding(model.get_submodule(owner), downsampling.factor, shape)
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


def _text(shape: Shape) -> str:
    return f"{shape[0]}×{shape[1]}×{shape[2]}"
