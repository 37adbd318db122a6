"""When numbers and masks of ours agree with the official ones: exactly in float64, up to rounding in float32."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from golden.cases import Case
from lth_bench.training.session import Session

Values = Mapping[str, Tensor]
EXACT = 1e-9
"""The relative difference that float64 is allowed; float32 is allowed more, as a share of the largest value."""
ROUNDED = 1e-5
CANCELLED = 1e-3
"""What float32 is allowed where batch statistics make much of a sum cancel."""


def allowance(case: Case) -> float:
    return EXACT if case.dtype == torch.float64 else ROUNDED


def assert_close(ours: Tensor, official: Tensor, allowed: float, largest: float | None = None) -> None:
    """`largest` is that of all values of the kind, if these are a part of them."""
    largest = float(official.abs().max()) if largest is None else largest
    ours, official = ours.double(), official.double()
    if allowed == EXACT:
        torch.testing.assert_close(ours, official, rtol=EXACT, atol=max(1e-13 * largest, 1e-15))
    else:
        difference = float((ours - official).abs().max())
        assert difference <= allowed * largest, f"{difference} is more than {allowed} of {largest}"


def assert_scores_close(ours: Values, official: Values, allowed: float) -> None:
    assert official.keys() <= ours.keys(), official.keys() - ours.keys()
    largest = max((float(score.abs().max()) for score in ours.values()), default=0.0)
    for layer, score in official.items():
        assert_close(ours[layer], score, allowed, largest)


def assert_masks_equal(session: Session, official: Values) -> None:
    assert session.masks.keys() == official.keys()
    for layer, mask in official.items():
        assert torch.equal(session.masks[layer], mask), layer


def assert_chosen(session: Session, official: Values, scores: Values, allowed: float) -> None:
    """Equal masks; in float32, weights whose scores are as near to the threshold as rounding goes may change places."""
    if allowed == EXACT:
        assert_masks_equal(session, official)
        return
    assert session.masks.keys() == official.keys()
    assert kept(session.masks) == kept(official)
    threshold = min(float(scores[layer][mask].min()) for layer, mask in session.masks.items() if mask.any())
    largest = max(float(score.abs().max()) for score in scores.values())
    for layer, mask in official.items():
        apart = (scores[layer] - threshold).abs() > allowed * largest
        assert not bool(((session.masks[layer] != mask) & apart).any()), layer


def kept(masks: Values) -> int:
    return sum(int(mask.count_nonzero()) for mask in masks.values())


def share_pruned(masks: Values) -> float:
    return 1 - kept(masks) / sum(mask.numel() for mask in masks.values())


def layer_sparsities(masks: Values) -> dict[str, float]:
    return {layer: 1 - int(mask.count_nonzero()) / mask.numel() for layer, mask in masks.items()}
