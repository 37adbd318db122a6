"""Products of inputs with weights, seen where torch computes them, whichever module reads the weight."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional
from torch.utils._python_dispatch import TorchDispatchMode

MATRICES = {torch.ops.aten.mm: 0, torch.ops.aten.bmm: 0, torch.ops.aten.addmm: 1, torch.ops.aten.baddbmm: 1}
"""Matrix products, and where the first of the two matrices is among their arguments."""
TRANSPOSED = 6  # the place among the arguments of aten.convolution


@dataclass(frozen=True)
class Convolution:
    """The options of a convolution, a number for each dimension."""

    strides: Sequence[int]
    padding: Sequence[int]
    dilations: Sequence[int]
    groups: int

    def unfolded(self, inputs: Tensor, kernel: Sequence[int]) -> Tensor:
        """What filters see: examples × channels × places × kernel."""
        inputs = functional.pad(inputs, [size for size in reversed(self.padding) for _ in range(2)])
        for place, (size, stride, dilation) in enumerate(zip(kernel, self.strides, self.dilations, strict=True)):
            inputs = inputs.unfold(2 + place, dilation * (size - 1) + 1, stride)[..., ::dilation]
        return inputs


@dataclass(frozen=True)
class Product:
    """Inputs that are multiplied by `rows` rows of a layer's weight from `start` on.

    They are positions × columns, or examples × channels × places for a convolution.
    """

    name: str
    start: int
    rows: int
    inputs: Tensor
    kernel: Sequence[int] = ()
    convolution: Convolution | None = None

    def columns(self) -> Iterator[Tensor]:
        """What the columns of the weight see, groups × columns × positions, some examples at a time."""
        if self.convolution is None:
            yield self.inputs.mT[None]
            return
        spatial, groups = len(self.kernel), self.convolution.groups
        order = (1, *range(2 + spatial, 2 + 2 * spatial), 0, *range(2, 2 + spatial))
        for part in self.inputs.split(max(1, len(self.inputs) // math.prod(self.kernel))):
            seen = self.convolution.unfolded(part, self.kernel).permute(order)
            yield seen.reshape(groups, -1, math.prod(seen.shape[1 + spatial :]))


class ProductWatch(TorchDispatchMode):
    """Tells `see` of every product of inputs with one of the weights, before it is computed; without autograd."""

    def __init__(self, weights: Mapping[str, Tensor], see: Callable[[Product], None]) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self._owners = {weight.untyped_storage().data_ptr(): name for name, weight in weights.items()}
        self._weights, self._see = weights, see

    @classmethod
    def _should_skip_dynamo(cls) -> bool:
        """False: guarding against torch's compiler imports the compiler."""
        return False

    def __torch_dispatch__(
        self, func: Any, types: Iterable[type], args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        packet = func._overloadpacket
        if packet in MATRICES:
            self._look_at_matrices(*args[MATRICES[packet] :][:2])
        elif packet is torch.ops.aten.linear:  # devices without matrix products of its parts
            self._look_at_matrices(args[0].flatten(0, -2), args[1].mT)
        elif packet is torch.ops.aten.convolution and not args[TRANSPOSED]:
            self._look_at_convolution(*args)
        return func(*args, **(kwargs or {}))

    def _look_at_matrices(self, inputs: Tensor, matrix: Tensor) -> None:
        """Of a weight that several matrices of inputs are multiplied by, torch makes as many, of stride 0."""
        weight = (matrix[0] if matrix.ndim == 3 and matrix.stride(0) == 0 else matrix).mT
        name = self._name(weight)
        if name and _in_rows(weight, self._weights[name].flatten(1)):
            self._see(Product(name, self._start(name, weight), len(weight), inputs.reshape(-1, inputs.shape[-1])))

    def _look_at_convolution(self, inputs: Tensor, weight: Tensor, bias: Any, *options: Any) -> None:
        if name := self._name(weight):
            strides, padding, dilations, _, _, groups = options
            convolution = Convolution(strides, padding, dilations, groups)
            start, kernel = self._start(name, weight), weight.shape[2:]
            self._see(Product(name, start, len(weight), inputs, kernel, convolution))

    def _name(self, weight: Tensor) -> str | None:
        return self._owners.get(weight.untyped_storage().data_ptr())

    def _start(self, name: str, weight: Tensor) -> int:
        return int(weight.storage_offset() - self._weights[name].storage_offset()) // weight[0].numel()


def _in_rows(part: Tensor, weight: Tensor) -> bool:
    """Whether a part of a weight's storage is some of its rows, rather than columns or what a weight was made into."""
    return part.shape[1:] == weight.shape[1:] and part.stride() == weight.stride()
