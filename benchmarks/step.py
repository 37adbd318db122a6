"""What the harness adds to a training step: its loop against a bare masked PyTorch loop of the same maths.

Both train LeNet-300-100 at 80 % sparsity with Adam on the same batches, taken from the same uint8 tensors in memory.
Blocks of steps of the two alternate in one process on one thread; the ratio is the median over the pairs. No step is
measured on validation data on either side.

    python benchmarks/step.py [--steps 50] [--pairs 100] [--batch-size 60]
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable

import timm
import torch
from torch import nn

from lth_bench.data import Examples, held_out
from lth_bench.durations import Duration
from lth_bench.models import register_models
from lth_bench.plugins import load_plugins
from lth_bench.recipe import Recipe
from lth_bench.scores import magnitude
from lth_bench.session import Session, Setup

SPARSITY = 0.8
STEPS_OF_RECIPE = 10**9


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--steps", type=int, default=50, help="steps in a block")
    parser.add_argument("--pairs", type=int, default=100, help="blocks of either loop")
    parser.add_argument("--batch-size", type=int, default=60)
    options = parser.parse_args()
    torch.set_num_threads(1)
    torch.set_flush_denormal(True)
    session = make_session(options.batch_size)
    harness, bare = harness_block(session, options.steps), bare_block(session, options.steps)
    harness(), bare()
    pairs = [(timed(harness), timed(bare)) for _ in range(options.pairs)]
    ratios = sorted(a / b for a, b in pairs)
    for name, times in zip(("harness", "bare"), zip(*pairs, strict=True), strict=True):
        print(f"{name:>8}: {1e6 * statistics.median(times) / options.steps:8.1f} µs a step (median)")
    middle, quarter = statistics.median(ratios), len(ratios) // 4
    spread = f"half of them in {ratios[quarter]:.3f} to {ratios[-quarter]:.3f}"
    print(f"   ratio: {middle:.3f} (median of {len(ratios)} pairs; {spread})")


def make_session(batch_size: int) -> Session:
    """A Session on random images of MNIST's shape and size, already pruned."""
    register_models(load_plugins().models.items)
    torch.manual_seed(0)
    images = torch.randint(0, 256, (60_000, 1, 28, 28), dtype=torch.uint8)
    one = torch.ones(1, 1, 1, 1)
    data = Examples(images, torch.randint(0, 10, (60_000,)), one / 80, -one)
    training, validation = held_out(data, 5_000)
    every = Duration(f"{STEPS_OF_RECIPE}it")
    recipe = Recipe(every, batch_size, 0.0012, optimizer="adam", measure_every=every)
    session = Session(Setup(lambda seed: timm.create_model("lenet_300_100"), training, validation, recipe, SPARSITY, 0))
    session.prune(magnitude(session))
    return session


def harness_block(session: Session, steps: int) -> Callable[[], None]:
    return lambda: session.train(until=session.step + steps)


def bare_block(session: Session, steps: int) -> Callable[[], None]:
    """The loop that one would write by hand for a masked network."""
    model = timm.create_model("lenet_300_100")
    parameters = list(model.parameters())
    masks = [(dict(model.named_parameters())[name], mask.float()) for name, mask in session.masks.items()]
    optimizer = torch.optim.Adam(parameters, lr=0.0012, fused=True)
    data, size = session._stream.data, session.recipe.batch_size

    def block() -> None:
        order = torch.randperm(len(data))
        for position in range(steps):
            index = order[position * size : (position + 1) * size]
            inputs = data.images[index].float().mul_(data.scale).add_(data.shift)
            for parameter in parameters:
                parameter.grad = None
            nn.functional.cross_entropy(model(inputs), data.labels[index]).backward()
            for weight, mask in masks:
                weight.grad.mul_(mask)
            optimizer.step()

    return block


def timed(block: Callable[[], None]) -> float:
    start = time.perf_counter()
    block()
    return time.perf_counter() - start


if __name__ == "__main__":
    main()
