"""Sparsities of the rounds of iterative pruning."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from lth_bench.pruning.allocation import Shapes, Sparsities, exact, kept_count, sizes_of, uniform

if TYPE_CHECKING:
    from lth_bench.training.session import Session


def layer_rates(session: Session, rate: float, output_rate: float | None) -> dict[str, float]:
    """Pruning rates by layer: `rate` in all, except `output_rate`, if given, in the output layer. Raises ValueError."""
    rates = dict.fromkeys(session.shapes, rate)
    if output_rate is not None and session.output_layer not in rates:
        raise ValueError(f"an output_rate of {output_rate} has no meaning: {session.output_layer!r} is kept dense")
    return rates if output_rate is None else {**rates, session.output_layer: output_rate}


def layerwise(shapes: Shapes, sparsity: float, rates: Mapping[str, float]) -> Sparsities:
    """The sparsities at which rounds of pruning, each layer at its own rate, meet the target of the whole network.

    After x rounds a layer of rate r keeps (1 - r)^x; x is the real number at which the network as a whole meets its
    target (Frankle & Carbin 2019, arXiv:1803.03635, appendix G). Raises ValueError for a target out of reach.
    """
    return exact(shapes, _thinned(rates, _rounds(shapes, sparsity, rates)), sparsity)


def layerwise_rounds(shapes: Shapes, sparsity: float, rates: Mapping[str, float]) -> list[Sparsities]:
    """The sparsities of each round by layer, rising; the last round is trimmed to the target."""
    x = _rounds(shapes, sparsity, rates)
    whole = [_thinned(rates, number) for number in range(1, _whole_rounds(x))]
    earlier = [
        {name: 1 - math.ceil(density[name] * size) / size for name, size in sizes_of(shapes).items()}
        for density in whole
    ]
    return [*earlier, layerwise(shapes, sparsity, rates)] if x > 0 else []


def global_rounds(sparsity: float, rate: float) -> list[float]:
    """Sparsities 1 - (1 - rate)^n of rounds n = 1, 2, …; the last round is trimmed to the target."""
    x = math.log(1 - sparsity) / math.log(1 - rate)
    return [*(1 - (1 - rate) ** number for number in range(1, _whole_rounds(x))), sparsity] if x > 0 else []


def uniform_rounds(shapes: Shapes, sparsities: Sequence[float]) -> list[Sparsities]:
    """Given rising sparsities, those of every round by layer, the same in all layers.

    Each layer keeps the nearest number of weights; in the last round, the numbers by which the total is exact.
    """
    if not sparsities:
        return []
    sizes, last = sizes_of(shapes), uniform(shapes, sparsities[-1])
    nearest = [{name: 1 - kept_count(sparsity, size) / size for name, size in sizes.items()} for sparsity in sparsities]
    # A layer keeps no fewer weights than in the last round, which may round its number up.
    return [*({name: min(layers[name], last[name]) for name in sizes} for layers in nearest[:-1]), last]


def _thinned(rates: Mapping[str, float], rounds: float) -> dict[str, float]:
    return {name: (1 - rate) ** rounds for name, rate in rates.items()}


def _whole_rounds(x: float) -> int:
    return math.ceil(x - 1e-9)


def _rounds(shapes: Shapes, sparsity: float, rates: Mapping[str, float]) -> float:
    """The real number of rounds that meets the target, by bisection."""
    sizes = sizes_of(shapes)
    target = (1 - sparsity) * sum(sizes.values())

    def kept(rounds: float) -> float:
        return sum(sizes[name] * density for name, density in _thinned(rates, rounds).items())

    if bad := {name: rate for name, rate in rates.items() if not 0 <= rate < 1}:
        raise ValueError(f"rates must lie in [0, 1), not {bad}")
    if target < (fixed := sum(size for name, size in sizes.items() if not rates[name])):
        raise ValueError(f"a sparsity of {sparsity} cannot be reached: layers of rate 0 hold {fixed} weights")
    low, high = 0.0, 1.0
    while kept(high) > target + 0.5:
        high *= 2
    for _ in range(100):
        middle = (low + high) / 2
        low, high = (middle, high) if kept(middle) > target else (low, middle)
    return high if sparsity > 0 else 0.0
