"""The overlap that masks have by chance, and how far an overlap is above it."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import numpy as np

from lth_bench.results.arrays import Floats
from lth_bench.storage.record import LayerSparsity


def chance_overlaps(masks: Sequence[Mapping[str, LayerSparsity]]) -> Floats:
    """Between all pairs of masks: the Jaccard overlap of random masks that keep as many weights in each layer.

    Two independent random masks that keep k and l of the n weights of a layer share k·l/n of them on average. The level
    is a ratio of expectations: these shared weights of all layers, divided by what either keeps then. It is NaN where
    neither keeps a weight, and for all pairs if the masks are not of one network.
    """
    sizes = [{name: layer.size for name, layer in layers.items()} for layers in masks]
    if any(other != sizes[0] for other in sizes):
        return np.full((len(masks), len(masks)), math.nan)
    kept = np.array([[layers[name].mask for name in sizes[0]] for layers in masks], dtype=float)
    both: Floats = (kept / np.array(list(sizes[0].values()), dtype=float)) @ kept.T
    total = kept.sum(axis=1)
    either: Floats = total[:, None] + total[None, :] - both
    return np.divide(both, either, out=np.full_like(both, np.nan), where=either > 0)


def excess(overlap: Floats, chance: Floats) -> Floats:
    """How far overlaps are above chance: 1 for equal masks, 0 at chance, below 0 under it; NaN where chance is 1."""
    room = 1 - chance
    return np.divide(overlap - chance, room, out=np.full_like(room, np.nan), where=room > 0)
