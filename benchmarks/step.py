"""Compares a training step of the harness with one of a bare masked PyTorch loop of the same maths.

Both train at 80 % sparsity on the same batches from the same uint8 tensors in memory, the bare loop in the fastest way
that we know. Blocks of steps of the two alternate in one process on one thread. Neither side measures validation data.

    python benchmarks/step.py [--pairs 100] [--only lenet_300_100]
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterator
from itertools import islice

import timm
import torch
from measuring import alone, in_turn, machine
from torch import Tensor, nn

from lth_bench.data.examples import Examples
from lth_bench.data.loading import held_out
from lth_bench.experiments.durations import Duration
from lth_bench.experiments.plugins import load_plugins
from lth_bench.experiments.recipe import Recipe
from lth_bench.methods.scores import magnitude
from lth_bench.models.timm_models import register_models
from lth_bench.training.optimizers import make_optimizer
from lth_bench.training.session import Session
from lth_bench.training.setup import Setup

SPARSITY = 0.8
EVERY = Duration(f"{10**9}it")
ADAM = {"optimizer": "adam", "learning_rate": 0.0012}
MOMENTUM = {"optimizer": "sgd", "learning_rate": 0.1, "momentum": 0.9, "weight_decay": 1e-4}
CASES = (  # model, image, batch size, steps in a block, recipe
    ("lenet_300_100", (1, 28, 28), 60, 100, ADAM),
    ("lenet_300_100", (1, 28, 28), 128, 100, ADAM),
    ("cifar_resnet20", (3, 32, 32), 128, 1, MOMENTUM),
)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--pairs", type=int, default=100, help="blocks of either loop")
    parser.add_argument("--only", help="one of the models")
    options = parser.parse_args()
    alone()
    register_models(load_plugins().models.items)
    print(machine())
    for model, shape, size, steps, recipe in CASES:
        if options.only in (None, model):
            session = make_session(model, shape, Recipe(EVERY, size, measure_every=EVERY, **recipe))
            pairs = in_turn(
                harness_block(session, steps), bare_block(timm.create_model(model), session, steps), options.pairs
            )
            ours, bare = (1e6 * value / steps for value in pairs.medians())
            print(f"{model}, batch {size}: {ours:,.0f} µs a step, bare {bare:,.0f} µs, ratio {pairs}", flush=True)


def make_session(model: str, shape: tuple[int, ...], recipe: Recipe) -> Session:
    """A Session on random images, already pruned."""
    torch.manual_seed(0)
    images = torch.randint(0, 256, (50_000, *shape), dtype=torch.uint8)
    one = torch.ones(1, 1, 1, 1)
    data = Examples(images, torch.randint(0, 10, (len(images),)), one / 80, -one)
    training, validation = held_out(data, 5_000)
    session = Session(Setup(lambda seed: timm.create_model(model), training, validation, recipe, SPARSITY, 0))
    session.prune(magnitude(session))
    return session


def harness_block(session: Session, steps: int) -> Callable[[], None]:
    return lambda: session.train(until=session.step + steps)


def bare_block(
    model: nn.Module, session: Session, steps: int, shuffled: Callable[[int], Tensor] = torch.randperm
) -> Callable[[], None]:
    """The loop that one would write by hand for a masked network; each block goes on where the last one ended."""
    model.train()
    parameters = list(model.parameters())
    named = dict(model.named_parameters())
    weights, masks = zip(*[(named[layer], mask.float()) for layer, mask in session.masks.items()], strict=True)
    optimizer = make_optimizer(session.recipe, model)
    data, size = session.order.data, session.recipe.batch_size

    def places() -> Iterator[Tensor]:
        while True:
            yield from shuffled(len(data)).split(size)[: len(data) // size]

    batches = places()

    def block() -> None:
        for index in islice(batches, steps):
            inputs = data.images.index_select(0, index).float().mul_(data.scale).add_(data.shift)
            for parameter in parameters:
                parameter.grad = None
            nn.functional.cross_entropy(model(inputs), data.labels.index_select(0, index)).backward()
            torch._foreach_mul_([weight.grad for weight in weights], masks)
            optimizer.step()

    return block


if __name__ == "__main__":
    main()
