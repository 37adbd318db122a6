"""Compares global pruning of 100 million weights to an exact count with sorting all scores and cutting at a threshold.

Both sides prune dense layers to 90 %, and the remaining weights to 99 %. Each run is a process of its own with one
thread; its memory is the peak above the state before there were scores, in multiples of the scores' size.

    python benchmarks/masks.py [--weights 100_000_000] [--layers 20] [--pairs 5]
"""

from __future__ import annotations

import argparse
import resource
import statistics
import time
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context

import torch
from measuring import Pairs, alone, machine

from lth_bench.pruning import masks
from lth_bench.pruning.masks import Masks

SPARSITIES = (0.9, 0.99)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--weights", type=int, default=100_000_000)
    parser.add_argument("--layers", type=int, default=20)
    parser.add_argument("--pairs", type=int, default=5)
    options = parser.parse_args()
    print(machine())
    runs = [(measured("ours", options), measured("sorted", options)) for _ in range(options.pairs)]
    for number, sparsity in enumerate(SPARSITIES):
        pairs = Pairs([(ours[0][number], theirs[0][number]) for ours, theirs in runs])
        ours, theirs = pairs.medians()
        print(f"to {sparsity:.0%}: {ours:.2f} s, by sorting {theirs:.2f} s, ratio {pairs}")
    ours, theirs = (statistics.median(run[side][1] for run in runs) for side in (0, 1))
    print(f"peak memory: {ours:.2f} × the scores, by sorting {theirs:.2f} ×")


def measured(how: str, options: argparse.Namespace) -> tuple[list[float], float]:
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
        return pool.submit(prune, how, options.weights, options.layers).result()


def prune(how: str, weights: int, layers: int) -> tuple[list[float], float]:
    """The seconds of each round, and the peak of memory in multiples of the scores' size."""
    alone()
    before = peak()
    generator = torch.Generator().manual_seed(0)
    scores = {str(layer): torch.rand(weights // layers, generator=generator) for layer in range(layers)}
    remaining, work, times = masks.full(scores), {"ours": masks.pruned, "sorted": by_sorting}[how], []
    for sparsity in SPARSITIES:
        started = time.perf_counter()
        remaining = work(scores, remaining, sparsity)
        times.append(time.perf_counter() - started)
    return times, (peak() - before) / (4 * weights)


def by_sorting(scores: dict[str, torch.Tensor], alive: Masks, sparsity: float) -> Masks:
    """The usual way; where scores tie it keeps more weights than the target asks for."""
    flat = torch.cat([scores[name][mask] for name, mask in alive.items()])
    count = round((1 - sparsity) * sum(score.numel() for score in scores.values()))
    threshold = flat.sort(descending=True).values[count - 1]
    return {name: (scores[name] >= threshold) & mask for name, mask in alive.items()}


def peak() -> int:
    """Bytes."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


if __name__ == "__main__":
    main()
