"""Times storing and loading a segment of training, beside computing it.

A segment of one step is trained without a store, with a store that lacks it (hash the state, take the lease, write) and
with a store that has it (hash, load, verify), for a state of the size of ResNet-50 with momentum (25.6 million weights,
205 MB) and for LeNet-300-100 with Adam. Every repeat starts from other weights; the figures are medians of the added
time.

    python benchmarks/store.py
"""

from __future__ import annotations

import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import timm
import torch
from torch import nn

from lth_bench.data.examples import Examples
from lth_bench.experiments.durations import Duration
from lth_bench.experiments.plugins import load_plugins
from lth_bench.experiments.recipe import Recipe
from lth_bench.models.timm_models import register_models
from lth_bench.storage.store import Store
from lth_bench.training.memory import Memory
from lth_bench.training.session import Session
from lth_bench.training.setup import Setup

REPEATS = 9
COMMON = {"duration": Duration("10it"), "batch_size": 4, "learning_rate": 0.01, "measure_every": Duration("10it")}


def main() -> None:
    torch.set_num_threads(1)
    register_models(load_plugins().models.items)
    print("seconds on top of computing a segment")
    measure("ResNet-50 with momentum", lambda: timm.create_model("resnet50"), Recipe(**COMMON, momentum=0.9), 3)
    adam = Recipe(**COMMON, optimizer="adam")
    measure("LeNet-300-100 with Adam", lambda: timm.create_model("lenet_300_100"), adam, 1)


def measure(name: str, network: Callable[[], nn.Module], recipe: Recipe, channels: int) -> None:
    with tempfile.TemporaryDirectory() as folder:
        plain, storing = (session(network, recipe, channels, store) for store in (None, Store(Path(folder))))
        written, loaded = [], []
        for _ in range(REPEATS):
            for started in (plain, storing):
                for parameter in started.model.parameters():
                    parameter.data.add_(0.001)
            start = storing.snapshot()
            bare, cold = timed(plain), timed(storing)
            storing.rewind(start)
            warm = timed(storing)
            plain.rewind_clock(1)
            storing.rewind_clock(1)
            written.append(cold - bare)
            loaded.append(warm)
    print(f"{name}: hash and write {statistics.median(written):.3f}, load and verify {statistics.median(loaded):.3f}")


def session(network: Callable[[], nn.Module], recipe: Recipe, channels: int, store: Store | None) -> Session:
    """A session at step 1, whose optimiser has its state."""
    size = 28 if channels == 1 else 32
    images = torch.zeros(4, channels, size, size, dtype=torch.uint8)
    one = torch.ones(1, 1, 1, 1)
    data = Examples(images, torch.tensor([0, 1, 0, 1]), one / 255, 0 * one)
    started = Session(Setup(lambda seed: network(), data, data, recipe, 0.5, 0, Memory(store, {}) if store else None))
    started.train(until=1)
    return started


def timed(started: Session) -> float:
    started = time.perf_counter()
    started.train(until=started.step + 1)
    return time.perf_counter() - started


if __name__ == "__main__":
    main()
