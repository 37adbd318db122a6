"""Examples per second on one GPU: an eager loop with a DataLoader, and the harness with 1, 2, 4, 8 experiments at once.

The loop is that of `conventional.py`, with pinned memory and a loader process for every core but one; each experiment
is a process of its own, as in a run, with its data on the GPU. All train an epoch and evaluate after it, on random
images of the size of MNIST and of CIFAR-10 (the latter are padded, cropped and mirrored).

    python benchmarks/gpu.py [--pairs 5] [--images 50000] [--most 8] [--device cuda]
"""

from __future__ import annotations

import argparse
import os
from functools import partial
from multiprocessing import get_context

import numpy as np
import torch
from conventional import LENET, RESNET, Photographs, Script, crowd, epoch, harness, loaded, photographs
from measuring import Pairs, in_turn, machine
from torch.utils.data import Dataset
from torchvision import transforms

from lth_bench.data.examples import Examples
from lth_bench.data.pixels import scale_and_shift
from lth_bench.running.worker import make_context
from lth_bench.training.session import Session

RECIPES = {"lenet_300_100": LENET, "cifar_resnet20": RESNET}
Arrays = tuple[np.ndarray, list[int]]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--pairs", type=int, default=5)
    parser.add_argument("--images", type=int, default=50_000, help="random images in an epoch")
    parser.add_argument("--most", type=int, default=8, help="experiments at a time")
    parser.add_argument("--device", default="cuda", choices=("cuda", "cpu"))
    options = parser.parse_args()
    make_context(None, options.device)
    print(machine())
    loaders = max(1, (os.cpu_count() or 1) - 1)
    counts = [count for count in (1, 2, 4, 8) if count <= options.most]
    started = (options.images, options.device)
    with get_context("spawn").Pool(counts[-1], initializer=prepare, initargs=started) as pool:
        for model, recipe in RECIPES.items():
            masks = session(model, options.images, options.device).masks
            script = Script(model, conventional(model, options.images), recipe, loaders, masks, options.device)
            for count in counts:
                work = partial(pool.map, trained, [model] * count, chunksize=1)
                pairs = in_turn(script.epoch, work, options.pairs)
                tell(model, count, options.images, Pairs([(theirs, ours / count) for theirs, ours in pairs.times]))


def tell(model: str, count: int, images: int, pairs: Pairs) -> None:
    theirs, ours = (images / seconds for seconds in pairs.medians())
    print(f"{model}, {count} at a time: {ours:,.0f} examples/s, eager loop {theirs:,.0f}, ratio {pairs}", flush=True)


def drawn(model: str, count: int) -> Arrays:
    """Random images, N×H×W or N×H×W×3, and their labels."""
    if model == "cifar_resnet20":
        return photographs(count)
    draw = np.random.default_rng(0)
    return draw.integers(0, 256, (count, 28, 28), dtype=np.uint8), draw.integers(0, 10, count).tolist()


def conventional(model: str, count: int) -> tuple[Dataset, Dataset]:
    images, labels = drawn(model, count)
    if model == "cifar_resnet20":
        return loaded(images, labels)
    transform = transforms.Compose([transforms.ToTensor(), transforms.Normalize(0.1307, 0.3081)])
    part = len(images) // 10
    return Photographs(images, labels, transform), Photographs(images[:part], labels[:part], transform)


def session(model: str, count: int, device: str) -> Session:
    images, labels = drawn(model, count)
    if model == "cifar_resnet20":
        return harness(model, crowd(images, labels), RECIPES[model], device)
    data = Examples(torch.from_numpy(images[:, None]), torch.tensor(labels), *scale_and_shift([0.1307], [0.3081]))
    return harness(model, (data, data.subset(torch.arange(count // 10))), RECIPES[model], device)


_training = {}


def prepare(count: int, device: str) -> None:
    """Makes a worker ready to train either network."""
    make_context(None, device)
    _training.update({model: epoch(session(model, count, device)) for model in RECIPES})


def trained(model: str) -> None:
    _training[model]()


if __name__ == "__main__":
    main()
