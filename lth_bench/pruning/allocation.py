"""How many weights each layer keeps, so that the whole network keeps exactly its target.

Shapes are those of the prunable weights by layer name; sparsities are by layer name too.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from functools import partial
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    pass

SPARSITIES = (0.9, 0.95, 0.98)  # at which the literature looks at methods that prune at initialisation
Shapes = Mapping[str, tuple[int, ...]]
Sparsities = dict[str, float]
Spread = Callable[[Shapes, float], Sparsities]


def kept_count(sparsity: float, size: int) -> int:
    """The number of weights, of `size`, that a sparsity leaves."""
    return round((1 - sparsity) * size)


def uniform(shapes: Shapes, sparsity: float) -> Sparsities:
    """The same sparsity in every layer."""
    return exact(shapes, dict.fromkeys(shapes, 1 - sparsity), sparsity)


def erk(shapes: Shapes, sparsity: float) -> Sparsities:
    """Erdős-Rényi-Kernel sparsities (Evci et al. 2020, arXiv:1911.11134, section 3, "Sparsity distribution")."""
    return exact(shapes, erk_densities(shapes, sparsity), sparsity)


def er(shapes: Shapes, sparsity: float) -> Sparsities:
    """Erdős-Rényi sparsities (Mocanu et al. 2018, arXiv:1707.04780); as in Evci et al. 2020, kernels do not count."""
    return exact(shapes, er_densities(shapes, sparsity), sparsity)


def erk_densities(shapes: Shapes, sparsity: float) -> dict[str, float]:
    """Densities proportional to the sum over the product of each layer's dimensions, capped at dense."""
    return _scaled(shapes, sparsity, {name: sum(shape) / math.prod(shape) for name, shape in shapes.items()})


def er_densities(shapes: Shapes, sparsity: float) -> dict[str, float]:
    """Densities proportional to the sum over the product of each layer's outputs and inputs, capped at dense."""
    return _scaled(shapes, sparsity, {name: sum(shape[:2]) / math.prod(shape[:2]) for name, shape in shapes.items()})


def first_dense(spread: Spread, shapes: Shapes, sparsity: float) -> Sparsities:
    """The first layer dense and the others spread so that the target is met all the same. Raises ValueError."""
    first, *others = shapes
    held, left = sizes_of(shapes)[first], kept_count(sparsity, sum(sizes_of(shapes).values()))
    if left - held < len(others):
        raise ValueError(
            f"a sparsity of {sparsity:.6g} with a dense first layer cannot be reached: it leaves {left} weights to "
            f"{len(shapes)} layers, and {first!r} alone has {held}; take a distribution without a dense layer"
        )
    rest = {name: shapes[name] for name in others}
    return {first: 0.0, **spread(rest, 1 - (left - held) / max(1, sum(sizes_of(rest).values())))}


DISTRIBUTIONS: dict[str, Spread] = {
    "uniform": uniform,
    "uniform_first_dense": partial(first_dense, uniform),
    "er": er,
    "erk": erk,
    "erk_first_dense": partial(first_dense, erk),
}


def sizes_of(shapes: Shapes) -> dict[str, int]:
    return {name: math.prod(shape) for name, shape in shapes.items()}


def _scaled(shapes: Shapes, sparsity: float, raw: Mapping[str, float]) -> dict[str, float]:
    """Densities proportional to `raw` that meet a target; a layer that would pass 1 is dense."""
    sizes = sizes_of(shapes)
    dense: set[str] = set()
    while True:
        budget = (1 - sparsity) * sum(sizes.values()) - sum(sizes[name] for name in dense)
        share = sum(raw[name] * sizes[name] for name in shapes if name not in dense)
        scale = budget / share if share else 0.0
        full = {name for name in shapes if name not in dense and scale * raw[name] >= 1}
        if not full:
            return {name: 1.0 if name in dense else scale * raw[name] for name in shapes}
        dense |= full


def exact(shapes: Shapes, densities: Mapping[str, float], sparsity: float) -> Sparsities:
    """Rounds to whole weights by largest remainder, so that the total is exact."""
    sizes = sizes_of(shapes)
    wanted = {name: densities[name] * size for name, size in sizes.items()}
    counts = {name: math.floor(value + 1e-9) for name, value in wanted.items()}
    missing = kept_count(sparsity, sum(sizes.values())) - sum(counts.values())
    by_remainder = sorted(sizes, key=lambda name: counts[name] - wanted[name])
    for name in (name for name in by_remainder if counts[name] < sizes[name]):
        if missing <= 0:
            break
        counts[name] += 1
        missing -= 1
    return {name: 1 - counts[name] / size for name, size in sizes.items()}
