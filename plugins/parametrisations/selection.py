"""The weights of highest gates, to an exact count: what gated weights are evaluated with, and end in."""

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
    """Masks over the highest gates, of all layers together to a sparsity, in each layer to a dict.

    `gates` gives them by layer. They are looked at anew in every pass, that is when a layer is asked for again, and
    after `forget`; not by their versions in autograd, which fused optimisers leave as they are.
    """

    def __init__(self, gates: Gates, sparsities: Sparsities) -> None:
        self._gates, self._sparsities = gates, sparsities
        self._left: Masks = {}

    def mask(self, layer: str) -> Tensor:
        if layer not in self._left:
            self._left = self._select()
        return self._left.pop(layer)

    def forget(self) -> None:
        self._left = {}

    @torch.no_grad()
    def _select(self) -> Masks:
        # Gates that are not finite have no order; the loss, or the end of training, tells of them.
        gates = {layer: gate.nan_to_num(nan=torch.finfo(gate.dtype).min) for layer, gate in self._gates().items()}
        return pruned(gates, full(gates), self._sparsities)


@torch.no_grad()
def settle(session: Session, gates: Gates, sparsities: Sparsities) -> None:
    """Ends the parametrisations and keeps the weights of highest gates. Raises Diverged."""
    found = {layer: gate.detach().clone() for layer, gate in gates().items()}
    if not all(bool(gate.isfinite().all()) for gate in found.values()):
        raise Diverged(session.step, "a gate that is not finite")
    session.bake()
    session.prune(found, sparsities)


def note_native_sparsity(session: Session, gates: Mapping[str, Tensor], threshold: float) -> None:
    """Notes the share of gates that are not above a threshold, for methods that have one of their own."""
    below = sum(int((gate <= threshold).sum()) for gate in gates.values())
    session.note("native_sparsity", below / sum(gate.numel() for gate in gates.values()))


def straight_through(mask: Tensor, gate: Tensor) -> Tensor:
    """The values of a mask with the gradient of a gate."""
    return mask.to(gate.dtype) + (gate - gate.detach())
