"""Scores that several methods share: a tensor for each layer, high where a weight should be kept."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
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


class ByLayer(Mapping[str, "Tensor"]):
    """Scores that are computed whenever those of a layer are asked for, so that no other layer's take memory."""

    def __init__(self, names: Iterable[str], compute: Callable[[str], Tensor]) -> None:
        self._names, self._compute = list(names), compute

    def __getitem__(self, name: str) -> Tensor:
        if name not in self._names:
            raise KeyError(name)
        return self._compute(name)

    def __iter__(self) -> Iterator[str]:
        return iter(self._names)

    def __len__(self) -> int:
        return len(self._names)
