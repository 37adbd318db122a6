"""How to share out a budget of elements as ranks of layers."""

from __future__ import annotations

import math
from collections.abc import Mapping
from heapq import heapify, heappop, heappush

Shape = tuple[int, ...]


def matrix(shape: Shape) -> tuple[int, int]:
    """Rows and columns of a weight as a matrix; outputs × height and inputs × width for a 2D convolution."""
    if len(shape) == 4:
        return shape[0] * shape[2], shape[1] * shape[3]
    return shape[0], math.prod(shape[1:])


def elements(shape: Shape, rank: int) -> int:
    """The number of elements of a weight of this rank: of its factors, or of the weight if that has fewer."""
    return min(rank * sum(matrix(shape)), math.prod(shape))


def saves(shape: Shape, rank: int) -> bool:
    """Whether factors of this rank have fewer elements than the weight."""
    return elements(shape, rank) < math.prod(shape)


def shared_out(shapes: Mapping[str, Shape], budget: int) -> dict[str, int]:
    """Ranks whose elements fill the budget but for less than one rank.

    Every layer gets a rank of at least one; each further rank goes to the layer with the smallest share of its full
    rank.
    """
    ranks = dict.fromkeys(shapes, 1)
    remaining = budget - sum(elements(shape, 1) for shape in shapes.values())
    queue = [(2 / min(matrix(shape)), layer) for layer, shape in shapes.items() if saves(shape, 1)]
    heapify(queue)
    while queue:
        _, layer = heappop(queue)
        shape, rank = shapes[layer], ranks[layer] + 1
        price = elements(shape, rank) - elements(shape, rank - 1)
        if price > remaining:
            continue
        ranks[layer], remaining = rank, remaining - price
        if saves(shape, rank):
            heappush(queue, ((rank + 1) / min(matrix(shape)), layer))
    return ranks
