"""How many ranks each layer gets of a budget of numbers."""

from __future__ import annotations

import math
from collections.abc import Mapping
from heapq import heapify, heappop, heappush

Shape = tuple[int, ...]


def matrix(shape: Shape) -> tuple[int, int]:
    """Rows and columns of the matrix that a weight of this shape is: for 2D convolutions, outputs × height in rows."""
    if len(shape) == 4:
        return shape[0] * shape[2], shape[1] * shape[3]
    return shape[0], math.prod(shape[1:])


def numbers(shape: Shape, rank: int) -> int:
    """How many numbers a weight of this rank takes, as factors or as it is."""
    return min(rank * sum(matrix(shape)), math.prod(shape))


def saves(shape: Shape, rank: int) -> bool:
    """Whether factors of this rank are fewer numbers than the weight."""
    return numbers(shape, rank) < math.prod(shape)


def shared_out(shapes: Mapping[str, Shape], budget: int) -> dict[str, int]:
    """Ranks that take at most so many numbers together, and less than a rank fewer.

    Every layer has one rank at least; the next is that of the layer that is furthest behind in its share of full rank.
    """
    ranks = dict.fromkeys(shapes, 1)
    left = budget - sum(numbers(shape, 1) for shape in shapes.values())
    queue = [(2 / min(matrix(shape)), layer) for layer, shape in shapes.items() if saves(shape, 1)]
    heapify(queue)
    while queue:
        _, layer = heappop(queue)
        shape, rank = shapes[layer], ranks[layer] + 1
        price = numbers(shape, rank) - numbers(shape, rank - 1)
        if price > left:
            continue
        ranks[layer], left = rank, left - price
        if saves(shape, rank):
            heappush(queue, ((rank + 1) / min(matrix(shape)), layer))
    return ranks
