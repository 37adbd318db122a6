"""Masks of the highest gates, to an exact count: for evaluations of gated weights, and for the end of training."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import torch
from torch import Tensor

from lth_bench.errors import Diverged
from lth_bench.pruning.masks import Masks, full, pruned
from lth_bench.training.session import Session

Gates = Callable[[], dict[str, Tensor]]
Sparsities = float | Mapping[str, float]


class Selection:
    """Masks of the highest gates: of all layers together for a float, of each layer for a dict of sparsities.

    `gates` returns the gates by layer. A selection reads them again in every pass, that is when a layer is asked for a
    second time, and after `forget`; it cannot go by their autograd versions, which fused optimisers do not raise.
    """

    def __init__(self, gates: Gates, sparsities: Sparsities) -> None:
        self._gates, self._sparsities = gates, sparsities
        self._unread: Masks = {}

    def mask(self, layer: str) -> Tensor:
        if layer not in self._unread:
            self._unread = self._select()
        return self._unread.pop(layer)

    def forget(self) -> None:
        self._unread = {}

    @torch.no_grad()
    def _select(self) -> Masks:
        # Gates that are not finite have no order; the loss or `settle` reports them.
        gates = {layer: gate.nan_to_num(nan=torch.finfo(gate.dtype).min) for layer, gate in self._gates().items()}
        return pruned(gates, full(gates), self._sparsities)


@torch.no_grad()
def settle(session: Session, gates: Gates, sparsities: Sparsities) -> None:
    """Ends the parametrisations and keeps the weights of the highest gates. Raises Diverged."""
    scores = {layer: gate.detach().clone() for layer, gate in gates().items()}
    if not all(bool(gate.isfinite().all()) for gate in scores.values()):
        raise Diverged(session.step, "a gate that is not finite")
    session.bake()
    session.prune(scores, sparsities)


def note_native_sparsity(session: Session, gates: Mapping[str, Tensor], threshold: float) -> None:
    """Notes the share of gates at or below a method's own threshold as `native_sparsity`."""
    below = sum(int((gate <= threshold).sum()) for gate in gates.values())
    session.note("native_sparsity", below / sum(gate.numel() for gate in gates.values()))


def straight_through(mask: Tensor, gate: Tensor) -> Tensor:
    """The values of a mask with the gradient of a gate."""
    return mask.to(gate.dtype) + (gate - gate.detach())
