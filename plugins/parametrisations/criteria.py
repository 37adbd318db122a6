"""The weights of a layer that a criterion prefers, and new values for the kept weights."""

from __future__ import annotations

import torch
from torch import Generator, Tensor


def preference(criterion: str, initial: Tensor, final: Tensor, mask: Tensor, rng: Generator) -> Tensor:
    """Scores of a layer's weights by a criterion; the highest are kept."""
    before, after = initial.abs(), final.abs()
    if criterion == "large_init_large_final":
        return ranks(before, mask, rng).minimum(ranks(after, mask, rng))
    if criterion == "small_init_small_final":
        return ranks(-before, mask, rng).minimum(ranks(-after, mask, rng))
    scores = {
        "large_final": after,
        "small_final": -after,
        "large_init": before,
        "small_init": -before,
        "magnitude_increase": after - before,
        "movement": (final - initial).abs(),
        "random": torch.zeros_like(initial),
    }
    same = initial.sign() == final.sign()
    if criterion.endswith("_same_sign"):
        return scores[criterion.removesuffix("_same_sign")].where(same, 0.0)
    if criterion.endswith("_diff_sign"):
        return scores[criterion.removesuffix("_diff_sign")].where(~same, 0.0)
    return scores[criterion]


def ranks(values: Tensor, mask: Tensor, rng: Generator) -> Tensor:
    """Ranks from 0 for the lowest; pruned weights come first, and ties are broken at random."""
    flat = values.masked_fill(~mask, -torch.inf).flatten()
    order = torch.randperm(flat.numel(), generator=rng).to(flat.device)
    order = order[flat[order].argsort(stable=True)]
    places = torch.empty_like(flat, dtype=torch.float64)
    places[order] = torch.arange(flat.numel(), dtype=torch.float64, device=flat.device)
    return places.view(values.shape)


def redrawn(kept: str, initial: Tensor, mask: Tensor, rng: Generator) -> Tensor:
    """Values for kept weights made of the layer's initial ones; `kept` is "signed_reinit", "random_constant" etc."""
    sign, _, how = kept.partition("_")
    values = shuffled(initial, rng)
    if how == "reshuffle":
        values = initial.masked_scatter(mask, shuffled(initial[mask], rng))
    if how == "constant":
        values = values.sign() * initial.std(correction=0)
    return values.abs() * initial.sign() if sign == "signed" else values


def shuffled(values: Tensor, rng: Generator) -> Tensor:
    order = torch.randperm(values.numel(), generator=rng).to(values.device)
    return values.flatten()[order].view(values.shape)
