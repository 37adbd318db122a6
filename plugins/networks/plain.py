"""Networks without branches: fully connected ones, LeNet-5, Conv-k and VGG for small images.

All but VGG draw their weights from Glorot's normal distribution, layer by layer.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable, Sequence
from itertools import pairwise

from torch import nn

from lth_bench.models.initialisation import glorot_normal, kaiming_normal

MODULE = (64, 128, 256, 512)
VGG = {
    11: (1, 1, 2, 2, 2),
    13: (2, 2, 2, 2, 2),
    16: (2, 2, 3, 3, 3),
    19: (2, 2, 4, 4, 4),
}


def fully_connected(
    features: int, widths: Sequence[int], classes: int, norm: bool = False
) -> Iterable[tuple[str, nn.Module]]:
    """Linear layers fc1, fc2, … with ReLU between them; with `norm`, batch norm before each ReLU."""
    sizes = [features, *widths, classes]
    for number, (wide_in, wide_out) in enumerate(pairwise(sizes), 1):
        yield f"fc{number}", glorot_normal(nn.Linear(wide_in, wide_out))
        if number < len(sizes) - 1:
            if norm:
                yield f"norm_fc{number}", nn.BatchNorm1d(wide_out)
            yield f"relu_fc{number}", nn.ReLU()


def mlp(size: tuple[int, int], channels: int, widths: Sequence[int], classes: int) -> nn.Module:
    """A fully connected network on the pixels of an image of `size`."""
    pixels = channels * size[0] * size[1]
    return nn.Sequential(OrderedDict([("flatten", nn.Flatten()), *fully_connected(pixels, widths, classes)]))


def lenet_5(size: tuple[int, int], channels: int, classes: int, scale: float, norm: bool) -> nn.Module:
    """20 and 50 5×5 filters without padding, each with 2×2 max pooling, then 500 units; `scale` multiplies all three.

    With `norm`, batch norm and ReLU follow each convolution, and batch norm precedes the ReLU of the units.
    """
    wide = [round(scale * full) for full in (20, 50, 500)]
    layers: list[tuple[str, nn.Module]] = []
    for number, (wide_in, wide_out) in enumerate(pairwise([channels, *wide[:2]]), 1):
        layers += [(f"conv{number}", glorot_normal(nn.Conv2d(wide_in, wide_out, 5)))]
        layers += [(f"norm{number}", nn.BatchNorm2d(wide_out)), (f"relu{number}", nn.ReLU())] if norm else []
        layers += [(f"pool{number}", nn.MaxPool2d(2))]
    shrunk = [((length - 4) // 2 - 4) // 2 for length in size]
    head = fully_connected(wide[1] * shrunk[0] * shrunk[1], wide[2:], classes, norm)
    return nn.Sequential(OrderedDict([*layers, ("flatten", nn.Flatten()), *head]))


def conv(depth: int, size: tuple[int, int], channels: int, classes: int) -> nn.Module:
    """`depth` 3×3 convolutions in modules of two with 2×2 max pooling, then 256 and 256 units."""
    layers: list[tuple[str, nn.Module]] = []
    for number in range(1, depth + 1):
        width = MODULE[(number - 1) // 2]
        layer = glorot_normal(nn.Conv2d(channels, width, 3, padding=1))
        layers += [(f"conv{number}", layer), (f"relu{number}", nn.ReLU())]
        layers += [(f"pool{number // 2}", nn.MaxPool2d(2))] if number % 2 == 0 else []
        channels = width
    shrunk = [length // 2 ** (depth // 2) for length in size]
    head = fully_connected(channels * shrunk[0] * shrunk[1], (256, 256), classes)
    return nn.Sequential(OrderedDict([*layers, ("flatten", nn.Flatten()), *head]))


def vgg(depth: int, scale: float, channels: int, classes: int) -> nn.Module:
    """3×3 convolutions with batch norm in five stages, max pooling between them, mean pooling, one linear layer.

    The stages are `scale` times as wide as those of VGG.
    """
    layers: list[tuple[str, nn.Module]] = []
    number = 0
    for stage, (full, count) in enumerate(zip((*MODULE, 512), VGG[depth], strict=True), 1):
        width = round(scale * full)
        for _ in range(count):
            number += 1
            layers += [
                (f"conv{number}", kaiming_normal(nn.Conv2d(channels, width, 3, padding=1, bias=False))),
                (f"norm{number}", nn.BatchNorm2d(width)),
                (f"relu{number}", nn.ReLU()),
            ]
            channels = width
        layers += [(f"pool{stage}", nn.MaxPool2d(2))] if stage < 5 else []
    layers += [
        ("pool", nn.AdaptiveAvgPool2d(1)),
        ("flatten", nn.Flatten()),
        ("fc", kaiming_normal(nn.Linear(channels, classes))),
    ]
    return nn.Sequential(OrderedDict(layers))
