"""How pixels enter a network: as `pixel * scale + shift`, per channel."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor


def scale_and_shift(mean: Sequence[float], std: Sequence[float]) -> tuple[Tensor, Tensor]:
    """Scale and shift, 1×C×1×1, for pixels from 0 to 255; `mean` and `std` are those of pixels in [0, 1]."""
    center, spread = (torch.tensor(values).view(1, -1, 1, 1) for values in (mean, std))
    return 1 / (255 * spread), -center / spread


def normalised(images: Tensor, scale: Tensor, shift: Tensor) -> Tensor:
    """New images B×C×H×W, in the precision of `scale`."""
    if images.dtype == scale.dtype:
        return images.mul(scale).add_(shift)
    return images.to(scale.dtype).mul_(scale).add_(shift)


def moments(images: np.ndarray) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Mean and standard deviation per channel, to four digits, of uint8 images N×C×H×W taken as pixels in [0, 1]."""
    counts = [np.bincount(images[:, channel].ravel(), minlength=256) for channel in range(images.shape[1])]
    pixels = np.arange(256) / 255
    means = [float(count @ pixels / count.sum()) for count in counts]
    variances = [float(count @ (pixels - mean) ** 2 / count.sum()) for count, mean in zip(counts, means, strict=True)]
    return tuple(round(mean, 4) for mean in means), tuple(round(math.sqrt(value), 4) for value in variances)
