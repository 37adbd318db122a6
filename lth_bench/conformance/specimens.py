"""The specimens that a pruner is tried on: small networks, a small data set that can be learned, and a short recipe."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from torch import Tensor, nn

from lth_bench.experiments.datasets import Arrays, Dataset
from lth_bench.experiments.durations import Duration
from lth_bench.experiments.experiment import Choice
from lth_bench.experiments.recipe import Recipe

CLASSES = 4
SIDE = 8
RECIPE = Recipe(
    Duration("32it"),
    batch_size=20,
    learning_rate=0.02,
    momentum=0.9,
    weight_decay=1e-3,
    schedule="step",
    milestones=(Duration("16it"), Duration("24it")),
    warmup=Duration("4it"),
)


@dataclass(frozen=True)
class Specimen:
    """A network, in words and as an experiment names it, and the sparsity that it is pruned to."""

    words: str
    model: str
    sparsity: float
    arguments: Mapping[str, Any] = field(default_factory=dict)

    @property
    def choice(self) -> Choice:
        return Choice(self.model, dict(self.arguments))


SPECIMENS = (
    Specimen("a network without norm layers", "conformance_plain", 0.6),
    Specimen("a residual network with batch norm", "conformance_residual", 0.5),
    Specimen(
        "a small transformer",
        "vit_tiny_patch16_224",
        0.4,
        {"depth": 2, "embed_dim": 32, "num_heads": 2, "patch_size": 2},
    ),
)


class Plain(nn.Module):
    """Two convolutions and two linear layers, all with biases, and dropout."""

    def __init__(self, channels: int, classes: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(channels, 8, 3, padding=1)
        self.conv2 = nn.Conv2d(8, 16, 3, padding=1)
        self.pool = nn.MaxPool2d(2)
        self.fc1 = nn.Linear(16 * (SIDE // 4) ** 2, 32)
        self.dropout = nn.Dropout(0.1)
        self.fc2 = nn.Linear(32, classes)

    def forward(self, x: Tensor) -> Tensor:
        x = self.pool(self.conv1(x).relu())
        x = self.pool(self.conv2(x).relu())
        logits: Tensor = self.fc2(self.dropout(self.fc1(x.flatten(1)).relu()))
        return logits


class ResidualBlock(nn.Module):
    """Two convolutions with batch norm, and a shortcut that is a convolution too."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(inputs, outputs, 3, 2, 1, bias=False)
        self.norm1 = nn.BatchNorm2d(outputs)
        self.conv2 = nn.Conv2d(outputs, outputs, 3, 1, 1, bias=False)
        self.norm2 = nn.BatchNorm2d(outputs)
        self.shortcut = nn.Conv2d(inputs, outputs, 1, 2, bias=False)
        self.norm3 = nn.BatchNorm2d(outputs)

    def forward(self, x: Tensor) -> Tensor:
        y = self.norm1(self.conv1(x)).relu()
        both: Tensor = self.norm2(self.conv2(y)) + self.norm3(self.shortcut(x))
        return both.relu()


class Residual(nn.Module):
    """A stem, two blocks, the average over the last feature map, and a linear layer."""

    def __init__(self, channels: int, classes: int) -> None:
        super().__init__()
        self.stem = nn.Conv2d(channels, 8, 3, padding=1, bias=False)
        self.norm = nn.BatchNorm2d(8)
        self.blocks = nn.Sequential(ResidualBlock(8, 16), ResidualBlock(16, 16))
        self.head = nn.Linear(16, classes)

    def forward(self, x: Tensor) -> Tensor:
        features: Tensor = self.blocks(self.norm(self.stem(x)).relu())
        logits: Tensor = self.head(features.mean((2, 3)))
        return logits


def plain(pretrained: bool = False, in_chans: int = 3, num_classes: int = CLASSES, **others: Any) -> nn.Module:
    return Plain(in_chans, num_classes)


def residual(pretrained: bool = False, in_chans: int = 3, num_classes: int = CLASSES, **others: Any) -> nn.Module:
    return Residual(in_chans, num_classes)


MODELS = {"conformance_plain": plain, "conformance_residual": residual}


def _read(split: str, root: object) -> Arrays:
    """Images of noise whose class is the quarter in which they are bright."""
    training = split == "train"
    count = 200 if training else 60
    draws = np.random.default_rng(0 if training else 1)
    images = draws.integers(0, 160, (count, 3, SIDE, SIDE), dtype=np.uint8)
    labels = np.arange(count) % CLASSES
    half = SIDE // 2
    for image, label in zip(images, labels, strict=True):
        row, column = divmod(int(label), 2)
        image[:, row * half : (row + 1) * half, column * half : (column + 1) * half] += 80
    return images, labels.astype(np.int64)


DATASET = Dataset("Images whose class is where they are bright", CLASSES, (0.4,) * 3, (0.2,) * 3, 40, _read)
