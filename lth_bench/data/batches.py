"""The order of training batches, a pure function of (seed, step)."""

from __future__ import annotations

import math
from collections.abc import Iterator
from operator import itemgetter

import torch

from lth_bench.data.examples import Batch, Draw, Source
from lth_bench.errors import Unsuitable
from lth_bench.experiments.recipe import Recipe
from lth_bench.randomness import generator

AHEAD = 2**19  # pixel values that are gathered at once, of this batch and the next ones


class BatchOrder:
    """Training batches by step, without an epoch's incomplete last batch. Raises ValueError if no batch is complete."""

    def __init__(self, data: Source, recipe: Recipe, seed: int) -> None:
        if recipe.batch_size > len(data):
            raise ValueError(f"batch_size is {recipe.batch_size}, but there are only {len(data)} training examples")
        self.data, self.recipe, self.seed = data, recipe, seed
        self.steps_per_epoch = len(data) // recipe.batch_size
        self._epoch, self._order = -1, torch.empty(0)
        self._ahead = max(1, AHEAD // (recipe.batch_size * math.prod(data.shape)))
        self._batches: Iterator[Batch] = iter(())
        self._next = self._end = -1

    def batch(self, step: int) -> Batch:
        """The batch of a step; fastest for consecutive steps."""
        if step != self._next:
            self._batches = self.data.training_batches(self._draws(step))
        self._next = -1  # after an error the next batch is looked up anew
        batch = next(self._batches)
        if step + 1 < self._end:
            self._next = step + 1
        return batch

    def _draws(self, step: int) -> list[Draw]:
        """The draws of the batches from this step on that are gathered at once; they stay within its epoch."""
        epoch, position = divmod(step, self.steps_per_epoch)
        if epoch != self._epoch:
            order = torch.randperm(len(self.data), generator=generator(self.seed, "order", epoch))
            self._epoch, self._order = epoch, order.to(self.data.labels.device)
        self._end = min(step + self._ahead, step + self.steps_per_epoch - position)
        size = self.recipe.batch_size
        return [
            Draw(self.recipe, self.seed, later, epoch, self._order, (position + later - step) * size)
            for later in range(step, self._end)
        ]

    def sample(self, count: int, purpose: tuple[object, ...]) -> Batch:
        """`count` training examples drawn without replacement from the stream of a purpose.

        Raises Unsuitable where there are fewer, and ValueError for a count below one.
        """
        _check_positive(count)
        if count > len(self.data):
            raise Unsuitable(
                f"the method draws {count} examples to score on, but there are only {len(self.data)} for training: "
                "let it draw fewer, or use a larger data set"
            )
        order = torch.randperm(len(self.data), generator=generator(self.seed, *purpose))
        return self.data.batch(order[:count].to(self.data.labels.device))

    def part(self, number: int, size: int, purpose: tuple[object, ...]) -> Batch:
        """The training examples of one part of `size` when all are drawn from the stream of a purpose."""
        order = torch.randperm(len(self.data), generator=generator(self.seed, *purpose))
        return self.data.batch(order[number * size : (number + 1) * size].to(self.data.labels.device))

    def balanced_sample(self, per_class: int, purpose: tuple[object, ...]) -> Batch:
        """`per_class` training examples of every class, sorted by class.

        Raises Unsuitable where a class has fewer, and ValueError for a number below one.
        """
        _check_positive(per_class)
        order = torch.randperm(len(self.data), generator=generator(self.seed, *purpose))
        labels = self.data.labels.cpu()[order]
        classes = labels.unique()
        parts = [order[labels == label][:per_class] for label in classes]
        label, fewest = min(zip(classes.tolist(), map(len, parts), strict=True), key=itemgetter(1))
        if fewest < per_class:
            raise Unsuitable(
                f"the method draws {per_class} examples of each class to score on, but class {label} has only {fewest} "
                "for training: let it draw fewer, or use a larger data set"
            )
        return self.data.batch(torch.cat(parts).to(self.data.labels.device))


def _check_positive(count: int) -> None:
    if count < 1:
        raise ValueError(f"cannot draw {count} examples; draw at least one")
