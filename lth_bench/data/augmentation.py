"""Random crops, flips and cut-outs, of a whole batch at once."""

from __future__ import annotations

import torch
from torch import Tensor

from lth_bench.experiments.recipe import Recipe
from lth_bench.randomness import generator


def augmented(images: Tensor, recipe: Recipe, seed: int, step: int) -> Tensor:
    """Images B×C×H×W, augmented as the recipe says by a pure function of (seed, step), the same on every device."""
    if not (recipe.crop or recipe.flip or recipe.cutout):
        return images
    draws = generator(seed, "augmentation", step)
    if recipe.crop or recipe.flip:
        images = _shifted(images, recipe.crop, recipe.flip, draws)
    return _cut_out(images, recipe.cutout, draws) if recipe.cutout else images


def _shifted(images: Tensor, crop: int, flip: bool, draws: torch.Generator) -> Tensor:
    """Images padded by `crop` zeros on every side and cropped at random; with `flip`, mirrored with probability 0.5."""
    count, channels, height, width = images.shape
    padded = images.new_zeros(count, channels, height + 2 * crop, width + 2 * crop)
    padded[:, :, crop : crop + height, crop : crop + width] = images
    rows = torch.randint(2 * crop + 1, (count, 1), generator=draws) + torch.arange(height)
    columns = torch.randint(2 * crop + 1, (count, 1), generator=draws) + torch.arange(width)
    if flip:
        mirrored = torch.rand(count, 1, generator=draws) < 0.5
        columns = torch.where(mirrored, columns.flip(1), columns)
    places = rows[:, :, None] * padded.shape[3] + columns[:, None, :]
    places = places.view(count, 1, -1).expand(-1, channels, -1).to(images.device)
    return padded.flatten(2).gather(2, places).view(images.shape)


def _cut_out(images: Tensor, size: int, draws: torch.Generator) -> Tensor:
    """Images with a square of `size` pixels a side set to zero around a random pixel; it may reach over the edge.

    DeVries & Taylor 2017, arXiv:1708.04552.
    """
    count, _, height, width = images.shape
    covered = []
    for side in (height, width):
        start = torch.randint(side, (count, 1), generator=draws) - size // 2
        places = torch.arange(side)
        covered.append((places >= start) & (places < start + size))
    square = covered[0][:, None, :, None] & covered[1][:, None, None, :]
    return images.masked_fill(square.to(images.device), 0)
