"""Residual networks for small images: a 3×3 convolution, three stages at full, half and quarter size, mean pooling."""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn.functional import relu

Block = Callable[[int, int, int], nn.Module]


def _conv(wide_in: int, wide_out: int, size: int, stride: int = 1) -> nn.Conv2d:
    return nn.Conv2d(wide_in, wide_out, size, stride, size // 2, bias=False)


class BasicBlock(nn.Module):
    """Two 3×3 convolutions, norm after each; where the shape changes, the shortcut is a 1×1 convolution with norm."""

    def __init__(self, wide_in: int, wide_out: int, stride: int) -> None:
        super().__init__()
        self.conv1, self.norm1 = _conv(wide_in, wide_out, 3, stride), nn.BatchNorm2d(wide_out)
        self.conv2, self.norm2 = _conv(wide_out, wide_out, 3), nn.BatchNorm2d(wide_out)
        self.shortcut = nn.Sequential()
        if stride != 1 or wide_in != wide_out:
            self.shortcut = nn.Sequential(_conv(wide_in, wide_out, 1, stride), nn.BatchNorm2d(wide_out))

    def forward(self, x: Tensor) -> Tensor:
        inner = relu(self.norm1(self.conv1(x)))
        return relu(self.norm2(self.conv2(inner)) + self.shortcut(x))


class PreactivatedBlock(nn.Module):
    """Two 3×3 convolutions, norm before each; where the shape changes, the shortcut convolves the activated input."""

    def __init__(self, wide_in: int, wide_out: int, stride: int) -> None:
        super().__init__()
        self.norm1, self.conv1 = nn.BatchNorm2d(wide_in), _conv(wide_in, wide_out, 3, stride)
        self.norm2, self.conv2 = nn.BatchNorm2d(wide_out), _conv(wide_out, wide_out, 3)
        self.shortcut = _conv(wide_in, wide_out, 1, stride) if stride != 1 or wide_in != wide_out else None

    def forward(self, x: Tensor) -> Tensor:
        active = relu(self.norm1(x))
        inner = self.conv2(relu(self.norm2(self.conv1(active))))
        return inner + (x if self.shortcut is None else self.shortcut(active))


class PreactivatedBottleneck(nn.Module):
    """1×1, 3×3 and 1×1 convolutions, the first two a quarter as wide, norm before each; shortcut of the raw input."""

    def __init__(self, wide_in: int, wide_out: int, stride: int) -> None:
        super().__init__()
        narrow = wide_out // 4
        self.norm1, self.conv1 = nn.BatchNorm2d(wide_in), _conv(wide_in, narrow, 1)
        self.norm2, self.conv2 = nn.BatchNorm2d(narrow), _conv(narrow, narrow, 3, stride)
        self.norm3, self.conv3 = nn.BatchNorm2d(narrow), _conv(narrow, wide_out, 1)
        self.shortcut = _conv(wide_in, wide_out, 1, stride) if stride != 1 or wide_in != wide_out else None

    def forward(self, x: Tensor) -> Tensor:
        inner = self.conv1(relu(self.norm1(x)))
        inner = self.conv2(relu(self.norm2(inner)))
        inner = self.conv3(relu(self.norm3(inner)))
        return inner + (x if self.shortcut is None else self.shortcut(x))


class SmallResNet(nn.Module):
    """A stem, three stages of `count` blocks, mean pooling and a linear layer.

    `widths` are those of the stem and of the stages. Norm and ReLU follow the stem of basic blocks, and the last stage
    of preactivated blocks.
    """

    def __init__(self, block: Block, count: int, widths: tuple[int, ...], channels: int, classes: int) -> None:
        super().__init__()
        before = block is BasicBlock
        self.conv1 = _conv(channels, widths[0], 3)
        self.norm1 = nn.BatchNorm2d(widths[0]) if before else nn.Identity()
        self.act1 = nn.ReLU() if before else nn.Identity()
        for number, (wide_in, wide_out) in enumerate(pairwise(widths), 1):
            blocks = [block(wide_in, wide_out, 1 if number == 1 else 2)]
            blocks += [block(wide_out, wide_out, 1) for _ in range(count - 1)]
            self.add_module(f"layer{number}", nn.Sequential(*blocks))
        self.norm = nn.Identity() if before else nn.BatchNorm2d(widths[-1])
        self.act = nn.Identity() if before else nn.ReLU()
        self.fc = nn.Linear(widths[-1], classes)

    def forward(self, x: Tensor) -> Tensor:
        x = self.act1(self.norm1(self.conv1(x)))
        x = self.layer3(self.layer2(self.layer1(x)))
        return self.fc(torch.flatten(nn.functional.adaptive_avg_pool2d(self.act(self.norm(x)), 1), 1))
