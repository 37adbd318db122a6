"""What a pass through a network costs, counted in the multiplications by its convolution and linear weights."""

from __future__ import annotations

from collections import Counter
from functools import partial
from typing import TYPE_CHECKING, Any, cast

import torch
from torch import Tensor, nn

from lth_bench.masks import Masks
from lth_bench.models import PRUNABLE, mode, prunable

if TYPE_CHECKING:
    from lth_bench.session import Session


def multiplications(session: Session, masks: Masks) -> int:
    """Multiplications in a forward pass of one image, where of each layer the weights kept by a mask are left.

    A layer without a mask counts whole. Norms, activations, biases and the products within attention do not count.
    """
    weights = prunable(session.model)
    used = positions(session.model, session.input_shape)
    left = {name: masks[name].count_nonzero().item() if name in masks else w.numel() for name, w in weights.items()}
    return int(sum(count * left.get(name, 0) for name, count in used.items()))


@torch.no_grad()
def positions(model: nn.Module, shape: tuple[int, ...]) -> dict[str, int]:
    """How often a pass of one image uses each convolution and linear weight, by name: pixels or tokens, over all calls.

    Weights that a network uses without calling their layer are missing.
    """
    found: Counter[str] = Counter()
    hooks = []
    for path, module in model.named_modules():
        if isinstance(module, (*PRUNABLE, nn.MultiheadAttention)):
            hooks.append(module.register_forward_hook(partial(_count, found, path)))
    like = next(model.parameters())
    try:
        with mode(model, training=False):
            model(torch.ones(1, *shape, dtype=like.dtype, device=like.device))
    finally:
        for hook in hooks:
            hook.remove()
    return dict(found)


def _count(found: Counter[str], path: str, module: nn.Module, inputs: Any, output: Any) -> None:
    if isinstance(module, nn.MultiheadAttention):  # its two projections are not called as layers
        tokens = output[0].numel() // module.embed_dim
        found.update({f"{path}.in_proj_weight": tokens, f"{path}.out_proj.weight": tokens})
    else:
        found[f"{path}.weight"] += cast(Tensor, output).numel() // cast(Tensor, module.weight).shape[0]
