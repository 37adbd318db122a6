"""How many weights each layer keeps, so that the whole network keeps exactly its target.

Shapes are those of the prunable weights by layer name; sparsities are by layer name too.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from lth_bench.session import Session

SPARSITIES = (0.9, 0.95, 0.98)  # at which the literature looks at methods that prune at initialisation
Shapes = Mapping[str, tuple[int, ...]]
Sparsities = dict[str, float]
Spread = Callable[[Shapes, float], Sparsities]


def kept_count(sparsity: float, size: int) -> int:
    """The number of weights, of `size`, that a sparsity leaves."""
    return round((1 - sparsity) * size)


def uniform(shapes: Shapes, sparsity: float) -> Sparsities:
    """The same sparsity in every layer."""
    return _exact(shapes, dict.fromkeys(shapes, 1 - sparsity), sparsity)


def erk(shapes: Shapes, sparsity: float) -> Sparsities:
    """Erdős-Rényi-Kernel sparsities (Evci et al. 2020, arXiv:1911.11134, section 3, "Sparsity distribution")."""
    return _exact(shapes, erk_densities(shapes, sparsity), sparsity)


def er(shapes: Shapes, sparsity: float) -> Sparsities:
    """Erdős-Rényi sparsities (Mocanu et al. 2018, arXiv:1707.04780); as in Evci et al. 2020, kernels do not count."""
    return _exact(shapes, er_densities(shapes, sparsity), sparsity)


def erk_densities(shapes: Shapes, sparsity: float) -> dict[str, float]:
    """Densities proportional to the sum over the product of each layer's dimensions, capped at dense."""
    return _scaled(shapes, sparsity, {name: sum(shape) / math.prod(shape) for name, shape in shapes.items()})


def er_densities(shapes: Shapes, sparsity: float) -> dict[str, float]:
    """Densities proportional to the sum over the product of each layer's outputs and inputs, capped at dense."""
    return _scaled(shapes, sparsity, {name: sum(shape[:2]) / math.prod(shape[:2]) for name, shape in shapes.items()})


def first_dense(spread: Spread, shapes: Shapes, sparsity: float) -> Sparsities:
    """The first layer dense and the others spread so that the target is met all the same. Raises ValueError."""
    first, *others = shapes
    held, left = _sizes(shapes)[first], kept_count(sparsity, sum(_sizes(shapes).values()))
    if left - held < len(others):
        raise ValueError(
            f"a sparsity of {sparsity:.6g} with a dense first layer cannot be reached: it leaves {left} weights to "
            f"{len(shapes)} layers, and {first!r} alone has {held}; take a distribution without a dense layer"
        )
    rest = {name: shapes[name] for name in others}
    return {first: 0.0, **spread(rest, 1 - (left - held) / max(1, sum(_sizes(rest).values())))}


DISTRIBUTIONS: dict[str, Spread] = {
    "uniform": uniform,
    "uniform_first_dense": partial(first_dense, uniform),
    "er": er,
    "erk": erk,
    "erk_first_dense": partial(first_dense, erk),
}


def uniform_rounds(shapes: Shapes, sparsities: Sequence[float]) -> list[Sparsities]:
    """Rising sparsities, the same in every layer: one dict a round, nested; the last is exact in total."""
    earlier = [
        {name: 1 - math.ceil((1 - sparsity) * size - 1e-9) / size for name, size in _sizes(shapes).items()}
        for sparsity in sparsities[:-1]
    ]
    return [*earlier, *(uniform(shapes, sparsity) for sparsity in sparsities[-1:])]


def layer_rates(session: Session, rate: float, output_rate: float | None) -> dict[str, float]:
    """Pruning rates by layer: the same in all, but for the output layer's if that is given."""
    rates = dict.fromkeys(session.shapes, rate)
    if output_rate is not None and session.output_layer not in rates:
        raise ValueError(f"an output_rate of {output_rate} has no meaning: {session.output_layer!r} is kept dense")
    return rates if output_rate is None else {**rates, session.output_layer: output_rate}


def layerwise(shapes: Shapes, sparsity: float, rates: Mapping[str, float]) -> Sparsities:
    """Sparsities reached when every layer is thinned at its own rate, over and over, up to the target.

    After x rounds a layer of rate r keeps (1 - r)^x; x is the real number at which the network as a whole
    meets its target (Frankle & Carbin 2019, arXiv:1803.03635, appendix G).
    """
    return _exact(shapes, _thinned(rates, _rounds(shapes, sparsity, rates)), sparsity)


def layerwise_rounds(shapes: Shapes, sparsity: float, rates: Mapping[str, float]) -> list[Sparsities]:
    """Nested sparsities, one dict a round; the last is trimmed to the target."""
    x = _rounds(shapes, sparsity, rates)
    whole = [_thinned(rates, number) for number in range(1, _whole_rounds(x))]
    earlier = [
        {name: 1 - math.ceil(density[name] * size) / size for name, size in _sizes(shapes).items()} for density in whole
    ]
    return [*earlier, layerwise(shapes, sparsity, rates)] if x > 0 else []


def global_rounds(sparsity: float, rate: float) -> list[float]:
    """Sparsities 1 - (1 - rate)^n, n = 1, 2, …; the last is trimmed to the target."""
    x = math.log(1 - sparsity) / math.log(1 - rate)
    return [*(1 - (1 - rate) ** number for number in range(1, _whole_rounds(x))), sparsity] if x > 0 else []


def _sizes(shapes: Shapes) -> dict[str, int]:
    return {name: math.prod(shape) for name, shape in shapes.items()}


def _thinned(rates: Mapping[str, float], rounds: float) -> dict[str, float]:
    return {name: (1 - rate) ** rounds for name, rate in rates.items()}


def _whole_rounds(x: float) -> int:
    return math.ceil(x - 1e-9)


def _rounds(shapes: Shapes, sparsity: float, rates: Mapping[str, float]) -> float:
    """Solves, by bisection, for the real number of rounds that meets the target."""
    sizes = _sizes(shapes)
    target = (1 - sparsity) * sum(sizes.values())

    def kept(rounds: float) -> float:
        return sum(sizes[name] * density for name, density in _thinned(rates, rounds).items())

    if bad := {name: rate for name, rate in rates.items() if not 0 <= rate < 1}:
        raise ValueError(f"a rate lies in [0, 1), unlike {bad}")
    if target < (fixed := sum(size for name, size in sizes.items() if not rates[name])):
        raise ValueError(f"a sparsity of {sparsity} cannot be reached: layers of rate 0 hold {fixed} weights")
    low, high = 0.0, 1.0
    while kept(high) > target + 0.5:
        high *= 2
    for _ in range(100):
        middle = (low + high) / 2
        low, high = (middle, high) if kept(middle) > target else (low, middle)
    return high if sparsity > 0 else 0.0


def _scaled(shapes: Shapes, sparsity: float, raw: Mapping[str, float]) -> dict[str, float]:
    """Densities proportional to `raw` that meet a target; a layer that would pass 1 is dense."""
    sizes = _sizes(shapes)
    dense: set[str] = set()
    while True:
        budget = (1 - sparsity) * sum(sizes.values()) - sum(sizes[name] for name in dense)
        share = sum(raw[name] * sizes[name] for name in shapes if name not in dense)
        scale = budget / share if share else 0.0
        full = {name for name in shapes if name not in dense and scale * raw[name] >= 1}
        if not full:
            return {name: 1.0 if name in dense else scale * raw[name] for name in shapes}
        dense |= full


def _exact(shapes: Shapes, densities: Mapping[str, float], sparsity: float) -> Sparsities:
    """Rounds to whole weights by largest remainder, so that the total is exact."""
    sizes = _sizes(shapes)
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
