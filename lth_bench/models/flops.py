"""Floating-point operations: of one forward pass by layer, and of whatever runs under a meter.

A multiplication with its addition is two operations (FLOPs = 2 × MACs). Matrix products, convolutions and attention
count, as in `torch.utils.flop_counter`; norms, activations, biases and optimisers do not. Attention costs the same on
every backend: torch's registry lacks some fused operators, and charges others for computing the scores again in their
backward pass.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils._python_dispatch import TorchDispatchMode, _get_current_dispatch_mode
from torch.utils.flop_counter import conv_flop_count, flop_registry

from lth_bench.models.modes import mode, products_of_attention

if TYPE_CHECKING:
    from collections.abc import Iterator

OTHER = ""  # the name of products that read no prunable weight
TRANSPOSED, OUTPUT_MASK = 4, 7  # positions among the arguments of aten.convolution_backward after its three tensors

# Forward they take (queries, keys, values, ...), backward (gradients, queries, keys, values, ...).
FUSED_ATTENTION = (
    "_scaled_dot_product_flash_attention",
    "_scaled_dot_product_flash_attention_for_cpu",
    "_scaled_dot_product_efficient_attention",
    "_scaled_dot_product_cudnn_attention",
    "_scaled_dot_product_fused_attention_overrideable",
    "_scaled_dot_product_attention_math_for_mps",
)

OnFlops = Callable[[str, int], None]


@dataclass(frozen=True)
class Passage:
    """FLOPs of one image's forward pass through the dense network: of each prunable weight, and of everything else."""

    layers: dict[str, int]
    other: int

    def flops(self, kept: Mapping[str, int], sizes: Mapping[str, int]) -> float:
        """FLOPs of the network that keeps so many weights of each layer; `sizes` are the layers' dense counts."""
        return self.other + sum(flops * kept[name] / sizes[name] for name, flops in self.layers.items())


def attention_flops(queries: Tensor, keys: Tensor, values: Tensor, *_: Any) -> int:
    """FLOPs of attention forward: queries × keys, and the result × values; each is (..., tokens, width)."""
    return 2 * queries.shape[:-1].numel() * keys.shape[-2] * (queries.shape[-1] + values.shape[-1])


def attention_backward_flops(_: Tensor, queries: Tensor, keys: Tensor, values: Tensor, *__: Any) -> int:
    """FLOPs of attention backward: two gradients for each product of the forward pass."""
    return 2 * attention_flops(queries, keys, values)


def _attention_formulas() -> dict[Any, Callable[..., int]]:
    """The formula of each fused operator that this version of torch has."""
    forward = dict.fromkeys(FUSED_ATTENTION, attention_flops)
    backward = {f"{name}_backward": attention_backward_flops for name in FUSED_ATTENTION}
    aten = torch.ops.aten
    return {getattr(aten, name): formula for name, formula in (forward | backward).items() if hasattr(aten, name)}


ATTENTION_FORMULAS = _attention_formulas()


def is_counted(packet: Any) -> bool:
    """Whether a meter reports this operator of torch."""
    return packet is torch.ops.aten.convolution_backward or packet in ATTENTION_FORMULAS or packet in flop_registry


class Meter(TorchDispatchMode):
    """Reports each matrix product, convolution and attention that torch runs inside: its prunable weight and its FLOPs.

    The name is OTHER where a product reads no prunable weight. A backward pass costs as much as the forward pass for
    each gradient that was asked for; one through nodes whose numbers are `charged` is not reported.
    """

    def __init__(self, weights: Callable[[], Mapping[str, Tensor]], on_flops: OnFlops) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.over = self._muted = False
        self.charged: list[range] = []
        self._weights, self._on_flops = weights, on_flops
        self._names: dict[int, str] = {}

    def __enter__(self) -> Meter:
        self._names = {}
        super().__enter__()  # type: ignore[no-untyped-call]
        return self

    def start(self) -> None:
        if self._muted:
            self._muted = False
        else:
            self.__enter__()

    def stop(self) -> None:
        """Ends the meter, or mutes it if somebody else has entered a mode of torch above it."""
        if _get_current_dispatch_mode() is self:
            self.__exit__(None, None, None)  # type: ignore[no-untyped-call]
        else:
            self._muted = True

    @classmethod
    def _should_skip_dynamo(cls) -> bool:
        """False: guarding against torch's compiler takes a fifth of every call and imports the compiler."""
        return False

    def __torch_dispatch__(
        self, func: Any, types: Iterable[type], args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        out = func(*args, **(kwargs or {}))
        packet = func._overloadpacket
        if self._muted or (self.charged and self._is_charged()):
            return out
        if packet is torch.ops.aten.convolution_backward:
            self._report_gradients(*args)
        elif packet in ATTENTION_FORMULAS:
            self._on_flops(OTHER, ATTENTION_FORMULAS[packet](*args))
        elif packet in flop_registry:
            self._on_flops(self._weight_among(args), int(flop_registry[packet](*args, **(kwargs or {}), out_val=out)))
        return out

    def _is_charged(self) -> bool:
        node = torch._C._current_autograd_node()
        return node is not None and any(node._sequence_nr() in numbers for numbers in self.charged)

    def _report_gradients(self, output: Tensor, inputs: Tensor, weight: Tensor, *options: Any) -> None:
        inputs_needed, weight_needed, _ = options[OUTPUT_MASK]
        shapes = [list(tensor.shape) for tensor in (inputs, weight, output)]
        flops = int(conv_flop_count(shapes[0], shapes[1], shapes[2], options[TRANSPOSED]))
        if inputs_needed:
            self._on_flops(self._weight_among((weight,)), flops)
        if weight_needed:
            self._on_flops(OTHER, flops)

    def _weight_among(self, tensors: Iterable[Any]) -> str:
        """The name of the first prunable weight among these tensors, else OTHER.

        A weight that has moved in memory since the first product is not recognised: another tensor may be in its place.
        """
        weights = self._weights()
        self._names = self._names or {_address(weight): name for name, weight in weights.items()}
        for address in (_address(tensor) for tensor in tensors if isinstance(tensor, Tensor)):
            name = self._names.get(address, OTHER)
            if name in weights and _address(weights[name]) == address:
                return name
        return OTHER


def _address(tensor: Tensor) -> int:
    return tensor.untyped_storage().data_ptr()


@torch.no_grad()
def passage(model: nn.Module, weights: Mapping[str, Tensor], shape: tuple[int, ...]) -> Passage:
    """FLOPs of one image of this shape, C×H×W, through the network in evaluation mode."""
    flops: Counter[str] = Counter()
    like = next(model.parameters())
    image = torch.ones(1, *shape, dtype=like.dtype, device=like.device)

    def on_flops(name: str, count: int) -> None:
        flops[name] += count

    with mode(model, training=False), _stepwise_attention(), Meter(lambda: weights, on_flops):
        model(image)
    return Passage({name: flops[name] for name in weights}, flops[OTHER])


@contextmanager
def _stepwise_attention() -> Iterator[None]:
    """Inside, torch computes attention product by product: fused operators of some future torch hide none of them."""
    with products_of_attention(), sdpa_kernel(SDPBackend.MATH):
        yield
