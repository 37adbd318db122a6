"""Small real networks and data, and Sessions on them."""

from __future__ import annotations

from collections import OrderedDict

import torch
from torch import nn

from lth_bench.data.examples import Examples
from lth_bench.experiments.durations import Duration
from lth_bench.experiments.patterns import parsed
from lth_bench.experiments.recipe import Recipe
from lth_bench.training.session import Session
from lth_bench.training.setup import Setup

CLASSES = 3


def network(seed: int) -> nn.Module:
    """A network with batch norm and dropout; 16·12 + 12·8 + 8·3 = 312 prunable weights."""
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        return nn.Sequential(
            OrderedDict(
                flatten=nn.Flatten(),
                fc1=nn.Linear(16, 12),
                norm=nn.BatchNorm1d(12),
                relu1=nn.ReLU(),
                dropout=nn.Dropout(0.2),
                fc2=nn.Linear(12, 8),
                relu2=nn.ReLU(),
                fc3=nn.Linear(8, CLASSES),
            )
        )


def examples(count: int, seed: int = 0) -> Examples:
    """Images 1×4×4 whose class is where they are brightest."""
    generator = torch.Generator().manual_seed(seed)
    images = torch.randint(0, 200, (count, 1, 4, 4), dtype=torch.uint8, generator=generator)
    labels = torch.arange(count) % CLASSES
    for label in range(CLASSES):
        images[labels == label, 0, label] += 55
    one = torch.ones(1, 1, 1, 1)
    return Examples(images, labels, one / 64, -2 * one)


def recipe(**changes) -> Recipe:
    fields = {
        "duration": "30it",
        "batch_size": 10,
        "learning_rate": 0.05,
        "optimizer": "sgd",
        "momentum": 0.9,
        "weight_decay": 0.01,
        "measure_every": "5it",
    } | changes
    durations = {name: Duration(fields[name]) for name in ("duration", "measure_every")}
    return Recipe(**{**fields, **durations})


RECIPES = {
    "sgd": recipe(),
    "adam": recipe(optimizer="adam", momentum=0.0, learning_rate=0.01, schedule="cosine"),
    "adamw": recipe(optimizer="adamw", momentum=0.0, learning_rate=0.01),
    "all options": recipe(
        nesterov=True,
        decay="weights",
        warmup=Duration("5it"),
        schedule="step",
        milestones=(Duration("20it"),),
        label_smoothing=0.1,
        crop=1,
        flip=True,
        cutout=1,
        precision="bfloat16",
    ),
}


def make_session(recipe: Recipe = RECIPES["sgd"], sparsity: float = 0.5, seed: int = 0, pattern: str = "") -> Session:
    held = parsed(pattern) if pattern else None
    return Session(Setup(network, examples(70), examples(20, 1), recipe, sparsity, seed, pattern=held))


def states_equal(one: dict[str, torch.Tensor], other: dict[str, torch.Tensor]) -> bool:
    return one.keys() == other.keys() and all(torch.equal(one[name], other[name]) for name in one)
