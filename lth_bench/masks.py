"""Which weights stay: dicts of boolean tensors by layer name, True where a weight is kept."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from lth_bench.allocation import kept_count

Masks = dict[str, Tensor]
Scores = Mapping[str, Tensor]


class MaskError(ValueError):
    """Scores, masks or targets that do not fit the network."""


def full(weights: Mapping[str, Tensor]) -> Masks:
    """Masks that keep every weight."""
    return {name: torch.ones_like(weight, dtype=torch.bool) for name, weight in weights.items()}


def kept(masks: Masks) -> dict[str, int]:
    """Weights kept, by layer."""
    return {name: int(mask.count_nonzero()) for name, mask in masks.items()}


def pruned(scores: Scores, masks: Masks, sparsity: float | Mapping[str, float]) -> Masks:
    """Masks that keep the highest scores among the weights kept so far, to the exact count.

    A float is a target for all layers together, a dict one for each layer. Ties go to the earlier weight, in the
    order of layers and of indices. Raises MaskError.
    """
    check_scores(scores, masks)
    if isinstance(sparsity, Mapping):
        check_layers(sparsity, masks, "sparsities")
        return {
            name: _highest({name: scores[name]}, {name: mask}, sparsity[name])[name] for name, mask in masks.items()
        }
    return _highest(scores, masks, sparsity)


def check_scores(scores: Scores, masks: Masks) -> None:
    """Raises MaskError unless every weight has a score, finite where it is kept so far."""
    check_layers(scores, masks, "scores")
    for name, mask in masks.items():
        if scores[name].shape != mask.shape:
            raise MaskError(
                f"scores of layer {name!r} have shape {tuple(scores[name].shape)}, its weights {tuple(mask.shape)}"
            )
        if bad := int((~scores[name].isfinite() & mask).count_nonzero()):
            raise MaskError(f"{bad} of {mask.numel()} scores of layer {name!r} are NaN or infinite")


def check_masks(new: Masks, masks: Masks) -> None:
    """Raises MaskError unless there is one boolean mask for every layer, of its shape."""
    check_layers(new, masks, "masks")
    for name, mask in masks.items():
        if new[name].dtype != torch.bool:
            raise MaskError(f"the mask of layer {name!r} must be boolean, not {new[name].dtype}")
        if new[name].shape != mask.shape:
            raise MaskError(
                f"the mask of layer {name!r} has shape {tuple(new[name].shape)}, its weights {tuple(mask.shape)}"
            )


def check_layers(given: Mapping[str, object], masks: Masks, what: str) -> None:
    """Raises MaskError unless exactly the prunable layers are named."""
    unknown, missing = sorted(set(given) - set(masks)), sorted(set(masks) - set(given))
    if unknown:
        raise MaskError(f"{what} given for {unknown}, which are not prunable layers; known: {sorted(masks)}")
    if missing:
        raise MaskError(f"no {what} given for the prunable layers {missing}")


def _highest(scores: Scores, masks: Masks, sparsity: float) -> Masks:
    size = sum(mask.numel() for mask in masks.values())
    count = _checked_count(sparsity, size, sum(kept(masks).values()), ", ".join(masks))
    alive = torch.cat([mask.flatten() for mask in masks.values()])
    flat = torch.cat([scores[name].detach().flatten() for name in masks])
    if bool(alive.all()):  # picking what is alive takes longer than all the rest
        chosen = top(flat, count)
    else:
        chosen = torch.zeros_like(alive)
        chosen[alive] = top(flat[alive], count)
    parts = chosen.split([mask.numel() for mask in masks.values()])
    return {name: part.view(mask.shape) for (name, mask), part in zip(masks.items(), parts, strict=True)}


def _checked_count(sparsity: float, size: int, alive: int, where: str) -> int:
    if not 0 <= sparsity <= 1:
        raise MaskError(f"sparsity must lie in [0, 1], not {sparsity} ({where})")
    count = kept_count(sparsity, size)
    if count > alive:
        raise MaskError(
            f"a sparsity of {sparsity:.6g} keeps {count} of {size} weights, but only {alive} are left ({where})"
        )
    return count


def top(scores: Tensor, count: int) -> Tensor:
    """A boolean mask over the `count` highest of a flat tensor of scores; ties go to the earlier index."""
    if count == 0:
        return torch.zeros_like(scores, dtype=torch.bool)
    threshold = scores.kthvalue(scores.numel() - count + 1).values
    chosen = scores > threshold
    ties = (scores == threshold).nonzero().flatten()
    chosen[ties[: count - int(chosen.count_nonzero())]] = True
    return chosen
