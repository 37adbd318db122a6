"""How many weights each layer keeps, so that the whole network keeps exactly its target.

Shapes are those of the prunable weights by layer name; sparsities are by layer name too.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from functools import partial

SPARSITIES = (0.9, 0.95, 0.98)  # those of the literature on pruning at initialisation
Shapes = Mapping[str, tuple[int, ...]]
Sparsities = dict[str, float]
Spread = Callable[[Shapes, float], Sparsities]


def kept_count(sparsity: float, size: int) -> int:
    """The number of `size` weights that remain at a sparsity."""
    return round((1 - sparsity) * size)


def density_of(sparsity: float) -> float:
    """The share of weights that remains, to 15 decimals: 0.01 at 0.99, where 1 - 0.99 is 0.010000000000000009."""
    return round(1 - sparsity, 15)


def uniform(shapes: Shapes, sparsity: float) -> Sparsities:
    """The same sparsity in every layer."""
    return exact(shapes, dict.fromkeys(shapes, 1 - sparsity), sparsity)


def erk(shapes: Shapes, sparsity: float) -> Sparsities:
    """Erdős-Rényi-Kernel sparsities (Evci et al. 2020, arXiv:1911.11134, section 3, "Sparsity distribution")."""
    return exact(shapes, erk_densities(shapes, sparsity), sparsity)


def er(shapes: Shapes, sparsity: float) -> Sparsities:
    """Erdős-Rényi sparsities (Mocanu et al. 2018, arXiv:1707.04780), without kernel sizes, as in Evci et al. 2020."""
    return exact(shapes, er_densities(shapes, sparsity), sparsity)


def erk_densities(shapes: Shapes, sparsity: float) -> dict[str, float]:
    """Densities proportional to the sum of each layer's dimensions divided by their product, at most 1."""
    return _scaled(shapes, sparsity, {name: sum(shape) / math.prod(shape) for name, shape in shapes.items()})


def er_densities(shapes: Shapes, sparsity: float) -> dict[str, float]:
    """Densities proportional to the sum of each layer's outputs and inputs divided by their product, at most 1."""
    return _scaled(shapes, sparsity, {name: sum(shape[:2]) / math.prod(shape[:2]) for name, shape in shapes.items()})


def first_dense(spread: Spread, shapes: Shapes, sparsity: float) -> Sparsities:
    """The first layer dense, and the others such that the whole network meets its target. Raises ValueError."""
    first, *others = shapes
    first_size, kept = sizes_of(shapes)[first], kept_count(sparsity, sum(sizes_of(shapes).values()))
    if kept - first_size < len(others):
        raise ValueError(
            f"a sparsity of {sparsity:.6g} with a dense first layer cannot be reached: it leaves {kept} weights to "
            f"{len(shapes)} layers, and {first!r} alone has {first_size}; take a distribution without a dense layer"
        )
    rest = {name: shapes[name] for name in others}
    return {first: 0.0, **spread(rest, 1 - (kept - first_size) / max(1, sum(sizes_of(rest).values())))}


DISTRIBUTIONS: dict[str, Spread] = {
    "uniform": uniform,
    "uniform_first_dense": partial(first_dense, uniform),
    "er": er,
    "erk": erk,
    "erk_first_dense": partial(first_dense, erk),
}


def sizes_of(shapes: Shapes) -> dict[str, int]:
    """The number of weights of each layer."""
    return {name: math.prod(shape) for name, shape in shapes.items()}


def _scaled(shapes: Shapes, sparsity: float, raw: Mapping[str, float]) -> dict[str, float]:
    """Densities proportional to `raw` that meet a target; a layer whose density would exceed 1 is dense."""
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
    """Sparsities of whole weights close to these densities, by largest remainder, so that the total is exact."""
    sizes = sizes_of(shapes)
    shares = {name: densities[name] * size for name, size in sizes.items()}
    counts = {name: math.floor(share + 1e-9) for name, share in shares.items()}
    missing = kept_count(sparsity, sum(sizes.values())) - sum(counts.values())
    by_remainder = sorted(sizes, key=lambda name: counts[name] - shares[name])
    for name in (name for name in by_remainder if counts[name] < sizes[name]):
        if missing <= 0:
            break
        counts[name] += 1
        missing -= 1
    return {name: 1 - counts[name] / size for name, size in sizes.items()}
