"""Which weights of a layer a criterion prefers, and what else than their own values the kept ones can be set to."""

from __future__ import annotations

import torch
from torch import Generator, Tensor


def preference(criterion: str, initial: Tensor, final: Tensor, mask: Tensor, rng: Generator) -> Tensor:
    """High for the weights that a criterion keeps."""
    before, after = initial.abs(), final.abs()
    if criterion == "large_init_large_final":
        return ranks(before, mask, rng).minimum(ranks(after, mask, rng))
    if criterion == "small_init_small_final":
        return ranks(-before, mask, rng).minimum(ranks(-after, mask, rng))
    known = {
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
        return known[criterion.removesuffix("_same_sign")].where(same, 0.0)
    if criterion.endswith("_diff_sign"):
        return known[criterion.removesuffix("_diff_sign")].where(~same, 0.0)
    return known[criterion]


def ranks(values: Tensor, mask: Tensor, rng: Generator) -> Tensor:
    """0 for the lowest, and so on; what is pruned comes first, and ties are broken at random."""
    flat = values.masked_fill(~mask, -torch.inf).flatten()
    order = torch.randperm(flat.numel(), generator=rng).to(flat.device)
    order = order[flat[order].argsort(stable=True)]
    found = torch.empty_like(flat, dtype=torch.float64)
    found[order] = torch.arange(flat.numel(), dtype=torch.float64, device=flat.device)
    return found.view(values.shape)


def redrawn(kept: str, initial: Tensor, mask: Tensor, rng: Generator) -> Tensor:
    """Values for the kept weights, made of their layer's initial ones: "signed_reinit", "random_constant" and so on."""
    sign, _, how = kept.partition("_")
    found = shuffled(initial, rng)
    if how == "reshuffle":
        found = initial.masked_scatter(mask, shuffled(initial[mask], rng))
    if how == "constant":
        found = found.sign() * initial.std(correction=0)
    return found.abs() * initial.sign() if sign == "signed" else found


def shuffled(values: Tensor, rng: Generator) -> Tensor:
    order = torch.randperm(values.numel(), generator=rng).to(values.device)
    return values.flatten()[order].view(values.shape)
