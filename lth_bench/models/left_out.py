"""Matrix weights that no method prunes: recurrent and transposed layers, embeddings, positions, layers kept dense."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from lth_bench.models.modes import mode


class _Reads(TorchDispatchMode):
    """Collects the places in memory that operators read."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.places: set[int] = set()

    @classmethod
    def _should_skip_dynamo(cls) -> bool:
        return False  # as in Meter

    def __torch_dispatch__(
        self, func: Any, types: Iterable[type], args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        self.places.update(_place(leaf) for leaf in tree_leaves((args, kwargs)) if isinstance(leaf, Tensor))
        return func(*args, **(kwargs or {}))


@torch.no_grad()
def left_out(model: nn.Module, weights: Mapping[str, Tensor], shape: tuple[int, ...]) -> dict[str, int]:
    """Counts by name the matrix weights, except these prunable ones, that a pass of one image C×H×W reads.

    A matrix has two dimensions above one, so that biases, norms and class tokens are none.
    """
    like = next(model.parameters())
    with mode(model, training=False), _Reads() as reads:
        model(torch.ones(1, *shape, dtype=like.dtype, device=like.device))
    others = [(name, value) for name, value in model.named_parameters() if name not in weights]
    return {
        name: value.numel()
        for name, value in others
        if sum(size > 1 for size in value.shape) > 1 and _place(value) in reads.places
    }


def _place(tensor: Tensor) -> int:
    return tensor.untyped_storage().data_ptr()
