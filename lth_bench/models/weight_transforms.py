"""Layers that change their weight in `forward`, as weight standardisation does."""

from __future__ import annotations

from typing import Any, cast

import torch
from torch import Tensor, nn

from lth_bench.models.layer_roles import PRUNABLE


@torch.no_grad()
def transformed(model: nn.Module, inputs: Tensor) -> list[str]:
    """Names of the prunable weights that their layer changes in `forward`, so that a mask on them would not hold.

    The output of such a layer is not linear in its weight. Leaves the network changed.
    """
    inputs_of: dict[nn.Module, Any] = {}

    def note(layer: nn.Module, inputs: Any, output: Any) -> None:
        inputs_of.setdefault(layer, inputs)

    names: dict[nn.Module, str] = {
        module: f"{name}.weight".removeprefix(".")
        for name, module in model.named_modules()
        if isinstance(module, PRUNABLE)
    }
    for module in names:
        module.register_forward_hook(note)
    model.eval()(inputs)
    return [names[layer] for layer, inputs in list(inputs_of.items()) if not _is_linear(layer, inputs)]


def _is_linear(layer: nn.Module, inputs: Any) -> bool:
    """Whether the outputs of two parts of the weight add up to the output of the whole weight."""
    weight = cast(nn.Parameter, layer.weight)
    for parameter in layer.parameters():
        if parameter is not weight:
            parameter.fill_(1)  # a gain of zero would hide the weight
    whole = weight.clone()
    half, rest = (weight.clone(memory_format=torch.contiguous_format) for _ in range(2))
    half.view(-1)[::2] = 0
    rest.view(-1)[1::2] = 0

    def output(value: Tensor) -> Tensor:
        weight.copy_(value)
        return cast(Tensor, layer(*inputs)).double()

    one, other, nothing, both = (output(value) for value in (half, rest, torch.zeros_like(whole), whole))
    return bool(torch.allclose(one + other - nothing, both, rtol=1e-3, atol=1e-3 * float(both.abs().max())))
