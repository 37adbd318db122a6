"""Masks: boolean tensors by layer name, True where a weight is kept."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping

import torch
from torch import Tensor

from lth_bench.errors import MaskError
from lth_bench.pruning.allocation import kept_count

PIECE = 1 << 20  # weights that are compared at a time

Masks = dict[str, Tensor]
Scores = Mapping[str, Tensor]


def full(weights: Mapping[str, Tensor]) -> Masks:
    """Masks that keep every weight."""
    return {name: torch.ones_like(weight, dtype=torch.bool) for name, weight in weights.items()}


def kept(masks: Masks) -> dict[str, int]:
    """The number of weights kept, by layer."""
    return {name: int(mask.count_nonzero()) for name, mask in masks.items()}


def pruned(scores: Scores, masks: Masks, sparsity: float | Mapping[str, float]) -> Masks:
    """Masks of the highest scores among the weights kept so far, with exactly the count that the target asks for.

    A float is a target for all layers together, a dict has one for each layer. Ties go to the earlier weight, in the
    order of layers and of indices. Raises MaskError.
    """
    check_scores(scores, masks)
    wanted = targets(masks, sparsity).items()
    return joined(highest(picked(scores, names), picked(masks, names), count) for names, count in wanted)


def targets(masks: Masks, sparsity: float | Mapping[str, float]) -> dict[tuple[str, ...], int]:
    """The weights to keep: a number for all layers together for a float, one for each layer for a dict.

    Raises MaskError where fewer are left.
    """
    if not isinstance(sparsity, Mapping):
        return {tuple(masks): _checked_count(sparsity, masks)}
    check_layers(sparsity, masks, "sparsities")
    return {(name,): _checked_count(sparsity[name], {name: mask}) for name, mask in masks.items()}


def picked(layers: Mapping[str, Tensor], names: Iterable[str]) -> dict[str, Tensor]:
    """The tensors of some layers."""
    return {name: layers[name] for name in names}


def joined(parts: Iterable[Masks]) -> Masks:
    """The masks of all layers, from those of some at a time."""
    return {name: mask for part in parts for name, mask in part.items()}


def check_scores(scores: Scores, masks: Masks) -> None:
    """Raises MaskError unless every weight has a score, and every weight kept so far a finite one."""
    check_tensors(scores, "scores")
    check_layers(scores, masks, "scores")
    for name, mask in masks.items():
        if scores[name].shape != mask.shape:
            raise MaskError(
                f"scores of layer {name!r} have shape {tuple(scores[name].shape)}, its weights {tuple(mask.shape)}"
            )
        if bad := sum(int((~score.isfinite() & alive).count_nonzero()) for score, alive in _pieces(scores[name], mask)):
            raise MaskError(f"{bad} of {mask.numel()} scores of layer {name!r} are NaN or infinite")


def check_masks(new: Masks, masks: Masks) -> None:
    """Raises MaskError unless there is one boolean mask for every layer, of its shape."""
    check_tensors(new, "masks")
    check_layers(new, masks, "masks")
    for name, mask in masks.items():
        if new[name].dtype != torch.bool:
            raise MaskError(f"the mask of layer {name!r} must be boolean, not {new[name].dtype}")
        if new[name].shape != mask.shape:
            raise MaskError(
                f"the mask of layer {name!r} has shape {tuple(new[name].shape)}, its weights {tuple(mask.shape)}"
            )


def check_tensors(given: object, what: str) -> None:
    """Raises MaskError unless this is a dict of tensors."""
    if not isinstance(given, Mapping):
        raise MaskError(
            f"{what} must be a dict of tensors by layer, not a value of type {type(given).__name__!r}; "
            "name the layers as session.weights does"
        )
    for name, value in given.items():
        if not isinstance(value, Tensor):
            raise MaskError(
                f"{what} of layer {name!r} must be a tensor, not a value of type {type(value).__name__!r}; "
                "convert it by torch.as_tensor()"
            )


def check_values(given: Mapping[str, Tensor], weights: Mapping[str, Tensor]) -> None:
    """Raises MaskError unless these are finite weights of some layers, of their shapes."""
    check_tensors(given, "weights")
    for name, value in given.items():
        if name not in weights:
            raise MaskError(f"weights given for {name!r}, which is not a prunable layer; known: {sorted(weights)}")
        if value.shape != weights[name].shape:
            shapes = f"{tuple(value.shape)}, not {tuple(weights[name].shape)}"
            raise MaskError(f"the weights given for layer {name!r} have shape {shapes}")
        if not value.isfinite().all():
            raise MaskError(f"the weights given for layer {name!r} are not all finite")


def check_layers(given: Mapping[str, object], masks: Masks, what: str) -> None:
    """Raises MaskError unless exactly the prunable layers are named."""
    unknown, missing = sorted(set(given) - set(masks)), sorted(set(masks) - set(given))
    if unknown:
        raise MaskError(f"{what} given for {unknown}, which are not prunable layers; known: {sorted(masks)}")
    if missing:
        raise MaskError(f"no {what} given for the prunable layers {missing}")


def _checked_count(sparsity: float, masks: Masks) -> int:
    size, alive, where = sum(mask.numel() for mask in masks.values()), sum(kept(masks).values()), ", ".join(masks)
    if not 0 <= sparsity <= 1:
        raise MaskError(f"sparsity must lie in [0, 1], not {sparsity} ({where})")
    count = kept_count(sparsity, size)
    if count > alive:
        raise MaskError(
            f"a sparsity of {sparsity:.6g} keeps {count} of {size} weights, but only {alive} are left ({where})"
        )
    return count


def highest(scores: Scores, masks: Masks, count: int) -> Masks:
    """Masks of the `count` highest scores, over all layers together, among the weights that `masks` keep.

    Ties go to the earlier weight. Needs little more memory than one copy of the scores of those weights.
    """
    threshold = _threshold(scores, masks, count)
    chosen = {name: torch.empty(mask.shape, dtype=torch.bool, device=mask.device) for name, mask in masks.items()}
    pieces = [piece for name, mask in masks.items() for piece in _pieces(chosen[name], scores[name].detach(), mask)]
    for choice, score, mask in pieces:
        torch.logical_and(score > threshold, mask, out=choice)
    missing = count - sum(kept(chosen).values())
    for choice, score, mask in pieces if missing else []:
        ties = (score == threshold).logical_and_(mask)
        choice |= ties.logical_and_(ties.cumsum(0) <= missing)
        missing -= int(ties.count_nonzero())
    return chosen


def top(scores: Tensor, count: int, among: Tensor | None = None) -> Tensor:
    """A boolean mask of the `count` highest scores of a tensor, or of those that `among` is True for.

    Ties go to the earlier weight.
    """
    mask = torch.ones_like(scores, dtype=torch.bool) if among is None else among
    return highest({"": scores}, {"": mask}, count)[""]


def _threshold(scores: Scores, masks: Masks, count: int) -> Tensor:
    """The `count`-th highest score among the weights that masks keep, as a tensor of one element."""
    dtype, device = comparable([score.dtype for score in scores.values()]), next(iter(masks.values())).device
    if count == 0:
        return torch.full((1,), math.inf, dtype=dtype, device=device)
    alive = torch.empty(sum(kept(masks).values()), dtype=dtype, device=device)
    start = 0
    pieces = (piece for name, mask in masks.items() for piece in _pieces(scores[name].detach(), mask))
    for score, mask in pieces:
        kept_scores = score if bool(mask.all()) else score[mask]  # indexing takes longer than all the rest
        alive[start : start + len(kept_scores)] = kept_scores
        start += len(kept_scores)
    place = len(alive) - count
    if device.type != "cpu":
        return alive.kthvalue(place + 1, keepdim=True).values
    alive.numpy().partition(place)
    return alive[place : place + 1].clone()


def _pieces(*tensors: Tensor) -> Iterator[tuple[Tensor, ...]]:
    """Tensors of one shape, flattened and cut into pieces, so that intermediate results need little memory."""
    return zip(*(tensor.flatten().split(PIECE) for tensor in tensors), strict=True)


def comparable(dtypes: list[torch.dtype]) -> torch.dtype:
    """A float type that NumPy has too, and that holds scores of these types without rounding."""
    if all(dtype in (torch.float16, torch.bfloat16, torch.float32) for dtype in dtypes):
        return torch.float32
    return torch.float64
