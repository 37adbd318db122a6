"""Products of inputs with weights, seen where torch computes them, whichever module reads the weight."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from torch import Tensor
from torch.nn import functional
from torch.overrides import TorchFunctionMode

PRODUCTS = (functional.linear, functional.conv1d, functional.conv2d, functional.conv3d)
ARGUMENTS = ("input", "weight", "bias", "stride", "padding", "dilation", "groups")


@dataclass(frozen=True)
class Product:
    """Inputs that are multiplied by some rows of a layer's weight; of a convolution, with the options of torch."""

    name: str
    start: int
    weight: Tensor
    options: Mapping[str, Any]

    def columns(self) -> Iterator[Tensor]:
        """What the columns of the weight see, groups × columns × positions, some examples at a time."""
        inputs = self.options["input"]
        spatial = self.weight.ndim - 2
        if spatial <= 0:
            yield inputs.reshape(1, -1, inputs.shape[-1]).mT
            return
        inputs = inputs if inputs.ndim == spatial + 2 else inputs[None]
        groups = self.options.get("groups", 1)
        for part in inputs.split(max(1, len(inputs) // math.prod(self.weight.shape[2:]))):
            seen = self._unfolded(part, spatial).transpose(0, 1)  # channels × examples × places × kernel
            order = (0, *range(2 + spatial, 2 + 2 * spatial), 1, *range(2, 2 + spatial))
            yield seen.permute(order).reshape(groups, self.weight[0].numel(), -1)

    def _unfolded(self, inputs: Tensor, spatial: int) -> Tensor:
        strides, dilations = (_each(self.options.get(name, 1), spatial) for name in ("stride", "dilation"))
        kernel = self.weight.shape[2:]
        inputs = functional.pad(inputs, _padding(self.options.get("padding", 0), kernel, dilations))
        for place, (size, stride, dilation) in enumerate(zip(kernel, strides, dilations, strict=True)):
            inputs = inputs.unfold(2 + place, dilation * (size - 1) + 1, stride)[..., ::dilation]
        return inputs


class ProductWatch(TorchFunctionMode):
    """Tells `see` of every product of inputs with one of the weights, before it is computed."""

    def __init__(self, weights: Mapping[str, Tensor], see: Callable[[Product], None]) -> None:
        super().__init__()
        self._owners = {weight.untyped_storage().data_ptr(): name for name, weight in weights.items()}
        self._weights, self._see = weights, see

    def __torch_function__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        kwargs = kwargs or {}
        if func is functional.multi_head_attention_forward:  # it is made of products
            with self:
                return func(*args, **kwargs)
        if func in PRODUCTS:
            options = {**dict(zip(ARGUMENTS, args, strict=False)), **kwargs}
            weight = options["weight"]
            if (name := self._owners.get(weight.untyped_storage().data_ptr())) is not None:
                start = (weight.storage_offset() - self._weights[name].storage_offset()) // weight[0].numel()
                self._see(Product(name, start, weight, options))
        return func(*args, **kwargs)


def _each(value: int | Sequence[int], count: int) -> tuple[int, ...]:
    values = (value,) if isinstance(value, int) else tuple(value)
    return values * count if len(values) == 1 else values


def _padding(padding: Any, kernel: Sequence[int], dilations: Sequence[int]) -> list[int]:
    """Padding as torch's `pad` takes it: two numbers for each dimension, the last dimension first."""
    if padding == "same":
        totals = [dilation * (size - 1) for size, dilation in zip(kernel, dilations, strict=True)]
        pairs = [(total // 2, total - total // 2) for total in totals]
    else:
        pairs = [(size, size) for size in _each(0 if padding == "valid" else padding, len(kernel))]
    return [size for pair in reversed(pairs) for size in pair]
