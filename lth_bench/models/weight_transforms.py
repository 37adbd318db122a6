"""Layers that change their weight in `forward`, as weight standardisation does."""

from __future__ import annotations

from typing import Any, cast

import torch
from torch import Tensor, nn

from lth_bench.models.layer_roles import PRUNABLE


@torch.no_grad()
def transformed(model: nn.Module, inputs: Tensor) -> list[str]:
    """Prunable layers that change their weight in `forward`, as weight standardisation does: a mask would not hold.

    What such a layer makes of some input is not linear in its weight. Leaves the network changed.
    """
    seen: dict[nn.Module, Any] = {}

    def note(layer: nn.Module, inputs: Any, output: Any) -> None:
        seen.setdefault(layer, inputs)

    names: dict[nn.Module, str] = {
        module: f"{name}.weight" for name, module in model.named_modules() if isinstance(module, PRUNABLE)
    }
    for module in names:
        module.register_forward_hook(note)
    model.eval()(inputs)
    return [names[layer] for layer, inputs in list(seen.items()) if not _is_linear(layer, inputs)]


def _is_linear(layer: nn.Module, inputs: Any) -> bool:
    """Whether two halves of the weight add up to what the whole does."""
    weight = cast(nn.Parameter, layer.weight)
    for parameter in layer.parameters():
        if parameter is not weight:
            parameter.fill_(1)  # a gain of zero would hide everything
    whole = weight.clone()
    half, rest = (weight.clone(memory_format=torch.contiguous_format) for _ in range(2))
    half.view(-1)[::2] = 0
    rest.view(-1)[1::2] = 0

    def output(value: Tensor) -> Tensor:
        weight.copy_(value)
        return cast(Tensor, layer(*inputs)).double()

    one, other, nothing, both = (output(value) for value in (half, rest, torch.zeros_like(whole), whole))
    return bool(torch.allclose(one + other - nothing, both, rtol=1e-3, atol=1e-3 * float(both.abs().max())))
