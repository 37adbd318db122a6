"""Scores that several methods share: a tensor for each layer, high where a weight should be kept."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import Tensor

    from lth_bench.training.session import Session


def magnitude(session: Session) -> dict[str, Tensor]:
    """The absolute value of every prunable weight."""
    return {name: weight.detach().abs() for name, weight in session.weights.items()}


def chance(session: Session) -> dict[str, Tensor]:
    """Uniform draws from the method's own stream, one for every prunable weight."""
    return {
        name: weight.new_empty(weight.shape, device="cpu").uniform_(generator=session.rng).to(weight.device)
        for name, weight in session.weights.items()
    }
