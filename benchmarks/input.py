"""Augmented images per second from memory on one core, compared with torchvision's transforms in a DataLoader.

    python benchmarks/input.py

Both sides yield normalised batches of 128 images of 3×32×32, padded by 4, cropped and mirrored at random.
"""

from __future__ import annotations

import torch
from measuring import alone, in_turn, machine
from PIL import Image
from torch.utils.data import DataLoader, Dataset
from torchvision import transforms

from lth_bench.data.batches import BatchOrder
from lth_bench.data.examples import Examples
from lth_bench.data.pixels import scale_and_shift
from lth_bench.experiments.durations import Duration
from lth_bench.experiments.recipe import Recipe

PAIRS = 7
IMAGES = 5_000
BATCH = 128
MEAN, STD = (0.4914, 0.4822, 0.4465), (0.2470, 0.2435, 0.2616)


class Photographs(Dataset[tuple[torch.Tensor, int]]):
    """Images as in torchvision.datasets.CIFAR10: an array, of which each item becomes a PIL image."""

    def __init__(self, images: torch.Tensor, labels: torch.Tensor) -> None:
        self.images, self.labels = images.permute(0, 2, 3, 1).numpy(), labels.tolist()
        self.transform = transforms.Compose(
            [
                transforms.RandomCrop(32, padding=4),
                transforms.RandomHorizontalFlip(),
                transforms.ToTensor(),
                transforms.Normalize(MEAN, STD),
            ]
        )

    def __len__(self) -> int:
        return len(self.labels)

    def __getitem__(self, index: int) -> tuple[torch.Tensor, int]:
        return self.transform(Image.fromarray(self.images[index])), self.labels[index]


def main() -> None:
    alone()
    print(machine())
    images = torch.randint(0, 256, (IMAGES, 3, 32, 32), dtype=torch.uint8)
    labels = torch.randint(0, 10, (IMAGES,))
    data = Examples(images, labels, *scale_and_shift(MEAN, STD))
    recipe = Recipe(Duration("1ep"), BATCH, 0.1, crop=4, flip=True)
    stream = BatchOrder(data, recipe, 0)
    loader = DataLoader(Photographs(images, labels), BATCH, shuffle=True, drop_last=True)

    def ours() -> None:
        for step in range(stream.steps_per_epoch):
            stream.batch(step)

    def theirs() -> None:
        for _ in loader:
            pass

    pairs = in_turn(theirs, ours, PAIRS)
    slow, fast = (stream.steps_per_epoch * BATCH / took for took in pairs.medians())
    print(f"in memory {fast:,.0f} images/s, torchvision loader {slow:,.0f} images/s, ratio {pairs}")


if __name__ == "__main__":
    main()
