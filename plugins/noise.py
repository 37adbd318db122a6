"""Noise: random pixels, for what is known of networks before they see data."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

from annotated_types import Ge

from lth_bench import Count, Dataset, hookimpl

IMAGES = {"train": 320, "test": 20}
SEEDS = {"train": 0, "test": 1}


@dataclass(frozen=True)
class Noise:
    """Squares of random pixels, `size` a side, with labels in turn: nothing can be learned from them.

    For masks, emptied layers and costs, which depend on the shapes of a network and its inputs. Accuracies are those of
    chance.
    """

    size: Count = 32
    channels: Count = 3
    classes: Annotated[int, Ge(2)] = 10

    def __call__(self):
        summary = f"{sum(IMAGES.values())} squares of random pixels with labels in turn; 300 / 20 / 20"
        mean, std = (0.5,) * self.channels, (0.29,) * self.channels
        title = f"noise of {self.size}×{self.size} pixels"
        return Dataset(summary, self.classes, mean, std, 20, self.read, title=title)

    def read(self, split, root):
        import numpy as np

        stream = np.random.RandomState(SEEDS[split])  # one that no version of NumPy changes
        images = stream.randint(256, size=(IMAGES[split], self.channels, self.size, self.size), dtype=np.uint8)
        return images, np.arange(len(images)) % self.classes


@hookimpl
def register_datasets(register):
    register("noise", Noise)
