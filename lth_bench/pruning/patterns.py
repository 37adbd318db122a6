"""Masks that hold a pattern: of every M consecutive inputs of an output, the best N; layers that cannot stay dense."""

from __future__ import annotations

import math
from collections.abc import Mapping

import torch
from torch import Tensor

from lth_bench.errors import Unsuitable
from lth_bench.experiments.patterns import Pattern
from lth_bench.pruning import masks as masking
from lth_bench.pruning.allocation import Shapes, sizes_of
from lth_bench.pruning.masks import Masks, Scores

SHOWN = 3  # names of layers in a sentence


def reached(pattern: Pattern, shapes: Shapes) -> float:
    """The sparsity of a network in which every layer that can holds the pattern. Raises Unsuitable where none can."""
    if fault := misfit(pattern, shapes):
        raise Unsuitable(fault)
    return 1 - kept_count(pattern, shapes) / sum(sizes_of(shapes).values())


def misfit(pattern: Pattern, shapes: Shapes) -> str | None:
    """Why no layer can hold the pattern, if so."""
    if any(pattern.fits(shape) for shape in shapes.values()):
        return None
    inputs = ", ".join(str(count) for count in sorted({shape[1] for shape in shapes.values()}))
    return (
        f"no prunable layer can hold {pattern}, which takes inputs in groups of {pattern.of}: theirs number {inputs}; "
        "ask for another pattern, or for a sparsity"
    )


def kept_count(pattern: Pattern, shapes: Shapes) -> int:
    """The number of weights that remain where every layer that can holds the pattern, and the others are dense."""
    return sum(
        math.prod(shape) * pattern.kept // pattern.of if pattern.fits(shape) else math.prod(shape)
        for shape in shapes.values()
    )


def pruned(scores: Scores, masks: Masks, sparsity: float | Mapping[str, float], pattern: Pattern) -> Masks:
    """Masks of the highest scores among the weights kept so far, which never break the pattern.

    In each group the best N are kept, and layers that cannot hold the pattern are. If the target, that of all layers
    together, is no more than these, all others go; if it is more, those of the lowest scores go, to its exact count:
    over all layers for a float, in each layer for a dict. Ties go to the earlier weight. Raises MaskError.
    """
    masking.check_scores(scores, masks)
    targets = masking.targets(masks, sparsity)
    best = {name: best_of_groups(scores[name], mask, pattern) for name, mask in masks.items()}
    if sum(targets.values()) <= kept_count(pattern, {name: tuple(mask.shape) for name, mask in masks.items()}):
        return best
    return masking.joined(
        _filled(scores, masking.picked(masks, names), masking.picked(best, names), count)
        for names, count in targets.items()
    )


def best_of_groups(scores: Tensor, mask: Tensor, pattern: Pattern) -> Tensor:
    """The N highest scores of each group, of those that the mask keeps; all of these where there are no groups."""
    if not pattern.fits(mask.shape):
        return mask
    ranked = scores.detach().to(masking.comparable([scores.dtype])).where(mask, -torch.inf)
    groups = _groups(ranked, pattern)
    places = groups.argsort(dim=-1, descending=True, stable=True)[..., : pattern.kept]
    chosen = torch.zeros_like(groups, dtype=torch.bool).scatter_(-1, places, True)
    return chosen.flatten(-2).movedim(-1, 1).logical_and(mask).contiguous()


def excess(mask: Tensor, pattern: Pattern) -> int:
    """The number of groups that keep more weights than the pattern does."""
    return int((_groups(mask, pattern).sum(-1) > pattern.kept).count_nonzero())


def breach(masks: Masks, pattern: Pattern) -> str | None:
    """Why masks do not hold the pattern, if so: each layer that can has to hold it or to be dense, the others to be."""
    pruned_layers = {name: mask for name, mask in masks.items() if not mask.all()}
    for name, mask in pruned_layers.items():
        if not pattern.fits(mask.shape):
            return f"layer {name!r}, whose inputs do not come in groups of {pattern.of}, is not dense"
        if count := excess(mask, pattern):
            groups = mask.numel() // pattern.of
            return f"layer {name!r} keeps more than {pattern.kept} weights in {count} of its {groups} groups"
    return None if pruned_layers else "every layer is dense"


def dense_layers(masks: Masks, pattern: Pattern) -> tuple[list[str], str]:
    """The layers that are dense under a pattern, and a sentence on why."""
    dense = [name for name, mask in masks.items() if mask.all()]
    by_choice = [name for name in dense if pattern.fits(masks[name].shape)]
    unfit = [name for name in dense if name not in by_choice]
    causes = [
        (unfit, f"dense, as inputs do not come in groups of {pattern.of}"),
        (by_choice, "left dense by the method"),
    ]
    return dense, "; ".join(f"{_listed(names)} {cause}" for names, cause in causes if names)


def _listed(names: list[str]) -> str:
    return ", ".join(names[:SHOWN]) + (f" and {len(names) - SHOWN} more" if len(names) > SHOWN else "")


def _filled(scores: Scores, masks: Masks, best: Masks, count: int) -> Masks:
    """The best weights, and of the others those of the highest scores, up to so many in all."""
    others = {name: mask & ~best[name] for name, mask in masks.items()}
    more = max(0, count - sum(masking.kept(best).values()))
    added = masking.highest(masking.picked(scores, masks), others, more)
    return {name: mask | added[name] for name, mask in best.items()}


def _groups(values: Tensor, pattern: Pattern) -> Tensor:
    """The values of a weight's shape with its inputs behind all else, in groups."""
    grouped: Tensor = values.movedim(1, -1).unflatten(-1, (-1, pattern.of))
    return grouped
