"""Compares an epoch of the harness with an epoch of a conventional training script.

The conventional script does what most repositories of the field do, written fairly: torchvision's data sets behind a
DataLoader, a masked network, the loss read at every step, evaluation through a loader after the epoch; gradients are
cleared by setting them to None. Both sides train on the same 55,000 images and evaluate on the other 5,000 (MNIST, from
--data), or on random images of the size of CIFAR-10, padded, cropped and mirrored (--images says how many).

First, one process with one thread on each side; the script has no loader workers and, for LeNet at batches of 60 and of
128, also two. Then both as they are used on two cores: two processes of the harness with one thread each, against two
processes of the script with one thread each and no loader workers, and against one process of the script with two
threads and two loader workers.

    python benchmarks/conventional.py --data DIR [--pairs 5] [--images 5000] [--only LeNet]
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import partial
from itertools import chain, islice, repeat
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np
import timm
import torch
from measuring import Pairs, alone, in_turn, machine
from PIL import Image
from torch import nn
from torch.utils.data import DataLoader, Dataset, Subset
from torchvision import transforms
from torchvision.datasets import MNIST

from lth_bench.data.examples import Examples
from lth_bench.data.loading import examples, held_out
from lth_bench.data.pixels import scale_and_shift
from lth_bench.experiments.durations import Duration
from lth_bench.experiments.plugins import load_plugins
from lth_bench.experiments.recipe import Recipe
from lth_bench.methods.scores import magnitude
from lth_bench.models.timm_models import register_models
from lth_bench.training.session import Session
from lth_bench.training.setup import Setup

SPARSITY, VALIDATION = 0.8, 5_000
MEAN, STD = (0.4914, 0.4822, 0.4465), (0.2470, 0.2435, 0.2616)
LENET = Recipe(Duration("1000ep"), 60, 0.0012, optimizer="adam", measure_every=Duration("1ep"))
RESNET = Recipe(
    Duration("1000ep"), 128, 0.1, momentum=0.9, weight_decay=1e-4, crop=4, flip=True, measure_every=Duration("1ep"),
    channels_last=True,
)  # fmt: skip


class Photographs(Dataset[tuple[torch.Tensor, int]]):
    """Images as in torchvision.datasets.CIFAR10: an array, of which each item becomes a PIL image."""

    def __init__(self, images: np.ndarray, labels: list[int], transform: Any) -> None:
        self.images, self.labels, self.transform = images, labels, transform

    def __len__(self) -> int:
        return len(self.labels)

    def __getitem__(self, index: int) -> tuple[torch.Tensor, int]:
        return self.transform(Image.fromarray(self.images[index])), self.labels[index]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, required=True, help="the folder in which MNIST/raw lies")
    parser.add_argument("--pairs", type=int, default=5)
    parser.add_argument("--images", type=int, default=5_000, help="random images in an epoch of ResNet-20")
    parser.add_argument("--only", default="", help="a part of the names of those that are measured")
    options = parser.parse_args()
    print(machine())
    torch.set_num_threads(1)
    images = datasets(options.data, options.images)
    given, processes = (options.data, options.images), get_context("spawn").Pool
    with processes(2, prepare, given) as pool, processes(2, prepare_scripts, given) as others:
        for name, (model, recipe, data) in cases(*given).items():
            if options.only not in name:
                continue
            masks = harness(model, data, recipe).masks
            scripts = {workers: Script(model, images[model], recipe, workers, masks) for workers in (0, 2)}
            one, both = (partial(pool.map, trained, [name] * count, chunksize=1) for count in (1, 2))
            for workers in (0, 2) if model == "lenet_300_100" else (0,):
                pairs = in_turn(scripts[workers].epoch, one, options.pairs)
                tell(f"{name}, {workers} loader workers", pairs)
            theirs = partial(others.map, trained, [name] * 2, chunksize=1)
            tell(f"{name}, two processes each", in_turn(theirs, both, options.pairs))
            torch.set_num_threads(2)
            pairs = in_turn(scripts[2].epoch, both, options.pairs)
            torch.set_num_threads(1)
            tell(f"{name}, both cores", Pairs([(theirs, ours / 2) for theirs, ours in pairs.times]))


Case = tuple[str, Recipe, tuple[Examples, Examples]]


def cases(folder: Path, count: int) -> dict[str, Case]:
    """A training of the harness: model, recipe and data."""
    mnist_digits = digits(folder)
    return {
        "LeNet-300-100, batch 60": ("lenet_300_100", LENET, mnist_digits),
        "LeNet-300-100, batch 128": ("lenet_300_100", replace(LENET, batch_size=128), mnist_digits),
        "ResNet-20, batch 128": ("cifar_resnet20", RESNET, crowd(*photographs(count))),
    }


def datasets(folder: Path, count: int) -> dict[str, tuple[Dataset, Dataset]]:
    """The script's training and evaluation data, by model."""
    return {"lenet_300_100": mnist(folder), "cifar_resnet20": loaded(*photographs(count))}


def tell(name: str, pairs: Pairs) -> None:
    theirs, ours = pairs.medians()
    print(f"{name}: conventional {theirs:.2f} s an epoch, ours {ours:.2f} s, ratio {pairs}", flush=True)


# -- the conventional script -------------------------------------------------------------------------------------------


class Script:
    """A training script of a masked network."""

    def __init__(
        self,
        model: str,
        data: tuple[Dataset, Dataset],
        recipe: Recipe,
        workers: int,
        masks: Mapping[str, torch.Tensor],
        device: str = "cpu",
    ) -> None:
        training, validation = data
        self.device = device
        more = {"num_workers": workers, "persistent_workers": workers > 0, "pin_memory": device == "cuda"}
        self.loader = DataLoader(training, recipe.batch_size, shuffle=True, drop_last=True, **more)
        self.evaluation = DataLoader(validation, 256, **more)
        self.model = timm.create_model(model).to(device)
        self.masks = {name: mask.float().to(device) for name, mask in masks.items()}
        self.weights = {name: weight for name, weight in self.model.named_parameters() if name in self.masks}
        if recipe.optimizer == "adam":
            self.optimizer = torch.optim.Adam(self.model.parameters(), lr=recipe.learning_rate)
        else:
            self.optimizer = torch.optim.SGD(
                self.model.parameters(), lr=0.1, momentum=recipe.momentum, weight_decay=recipe.weight_decay
            )

    def epoch(self) -> None:
        self.train(len(self.loader))
        self.evaluate()

    def train(self, steps: int) -> None:
        """Trains for this many steps, over as many epochs as they take."""
        self.model.train()
        total = 0.0
        batches = chain.from_iterable(repeat(self.loader))
        for inputs, labels in map(self.placed, islice(batches, steps)):
            loss = nn.functional.cross_entropy(self.model(inputs), labels)
            self.optimizer.zero_grad()
            loss.backward()
            for name, weight in self.weights.items():
                weight.grad.mul_(self.masks[name])
            self.optimizer.step()
            total += loss.item()

    @torch.no_grad()
    def evaluate(self) -> float:
        self.model.eval()
        batches = map(self.placed, self.evaluation)
        correct = sum((self.model(inputs).argmax(1) == labels).sum().item() for inputs, labels in batches)
        return correct / len(self.evaluation.dataset)

    def placed(self, batch: list[torch.Tensor]) -> list[torch.Tensor]:
        """A batch on the device."""
        return [tensor.to(self.device, non_blocking=True) for tensor in batch]


def mnist(folder: Path) -> tuple[Dataset, Dataset]:
    """torchvision's data set with images set from outside, since its own reader takes no gzipped files."""
    data = MNIST.__new__(MNIST)
    images, labels = load_plugins().datasets["mnist"].read("train", folder)
    data.data, data.targets = torch.from_numpy(images[:, 0]), torch.from_numpy(labels)
    data.transform = transforms.Compose([transforms.ToTensor(), transforms.Normalize(0.1307, 0.3081)])
    data.target_transform = None
    return parts(data)


def loaded(images: np.ndarray, labels: list[int]) -> tuple[Dataset, Dataset]:
    plain = [transforms.ToTensor(), transforms.Normalize(MEAN, STD)]
    varied = [transforms.RandomCrop(32, padding=4), transforms.RandomHorizontalFlip(), *plain]
    training = Photographs(images, labels, transforms.Compose(varied))
    validation = Photographs(images[: len(images) // 10], labels[: len(images) // 10], transforms.Compose(plain))
    return training, validation


def parts(data: Dataset) -> tuple[Dataset, Dataset]:
    order = torch.randperm(len(data), generator=torch.Generator().manual_seed(0)).tolist()
    return Subset(data, order[VALIDATION:]), Subset(data, order[:VALIDATION])


# -- the harness -------------------------------------------------------------------------------------------------------


def harness(model: str, data: tuple[Examples, Examples], recipe: Recipe, device: str = "cpu") -> Session:
    register_models(load_plugins().models.items)
    layout = torch.channels_last if recipe.channels_last else torch.contiguous_format
    torch.manual_seed(0)
    splits = [split.to(torch.device(device)) for split in data]
    setup = Setup(lambda seed: timm.create_model(model).to(device, memory_format=layout), *splits, recipe, SPARSITY, 0)
    session = Session(setup)
    session.prune(magnitude(session))
    return session


def epoch(session: Session) -> Callable[[], None]:
    return lambda: session.train(until=session.step + session.steps("1ep"))


def digits(folder: Path) -> tuple[Examples, Examples]:
    data = load_plugins().datasets["mnist"]
    return held_out(examples(data, data.read("train", folder)), VALIDATION)


def crowd(images: np.ndarray, labels: list[int]) -> tuple[Examples, Examples]:
    pixels = torch.from_numpy(images).permute(0, 3, 1, 2).contiguous()
    data = Examples(pixels, torch.tensor(labels), *scale_and_shift(MEAN, STD))
    return data, data.subset(torch.arange(len(data) // 10))


def photographs(count: int) -> tuple[np.ndarray, list[int]]:
    draw = np.random.default_rng(0)
    return draw.integers(0, 256, (count, 32, 32, 3), dtype=np.uint8), draw.integers(0, 10, count).tolist()


_training: dict[str, Callable[[], None]] = {}


def prepare(folder: Path, count: int) -> None:
    """Prepares a worker process of the harness, with one thread."""
    alone()
    for name, (model, recipe, data) in cases(folder, count).items():
        _training[name] = epoch(harness(model, data, recipe))


def prepare_scripts(folder: Path, count: int) -> None:
    """Prepares a worker process of the script, with one thread and no loader workers."""
    torch.set_num_threads(1)
    images = datasets(folder, count)
    for name, (model, recipe, data) in cases(folder, count).items():
        _training[name] = Script(model, images[model], recipe, 0, harness(model, data, recipe).masks).epoch


def trained(name: str) -> None:
    _training[name]()


if __name__ == "__main__":
    main()
