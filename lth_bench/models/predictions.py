"""Predictions of a network for a split of data."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import torch
from torch import Tensor, nn

from lth_bench.data.examples import Source
from lth_bench.models.modes import mode

CHUNK = 500  # examples


def nothing() -> None:
    pass


@torch.no_grad()
def predictions(
    model: nn.Module, data: Source, progress: Callable[[], None] = nothing
) -> Iterator[tuple[Tensor, Tensor]]:
    """Logits, N×classes, and labels, N, of all examples in order, a chunk at a time, in evaluation mode.

    `progress` is called after every chunk of examples.
    """
    with mode(model, training=False):
        for inputs, labels in data.chunks(CHUNK):
            yield model(inputs), labels
            progress()


def evaluate(model: nn.Module, data: Source, progress: Callable[[], None] = nothing) -> tuple[float, float]:
    """Mean cross-entropy in nats and the share of correct answers, in evaluation mode, without side effects.

    `progress` is called after every chunk of examples.
    """
    loss, correct = 0.0, 0
    for logits, labels in predictions(model, data, progress):
        loss += float(nn.functional.cross_entropy(logits, labels, reduction="sum"))
        correct += int((logits.argmax(1) == labels).sum())
    return loss / len(data), correct / len(data)
