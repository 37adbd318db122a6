"""Floating-point operations: of a pass through a network by layer, and of whatever is computed under a meter.

A multiplication with its addition is two operations (FLOPs = 2 × MACs). Counted are products of matrices, convolutions
and attention, as by `torch.utils.flop_counter`; norms, activations, biases and optimisers are not. Attention costs the
same on every backend: torch's registry lacks some fused operators, and charges others for computing the scores again in
their backward pass.
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

from lth_bench.models.timm_models import mode

if TYPE_CHECKING:
    from collections.abc import Iterator

OTHER = ""  # the name under which operations stand that read no prunable weight
TRANSPOSED, WANTED = 4, 7  # places among the arguments of aten.convolution_backward, after the three tensors

# Forward they take (queries, keys, values, ...), backward (gradients, queries, keys, values, ...).
FUSED_ATTENTION = (
    "_scaled_dot_product_flash_attention",
    "_scaled_dot_product_flash_attention_for_cpu",
    "_scaled_dot_product_efficient_attention",
    "_scaled_dot_product_cudnn_attention",
    "_scaled_dot_product_fused_attention_overrideable",
    "_scaled_dot_product_attention_math_for_mps",
)

Heard = Callable[[str, int], None]


@dataclass(frozen=True)
class Passage:
    """FLOPs of one image's forward pass through the dense network: by prunable weight, and of all the rest."""

    layers: dict[str, int]
    other: int

    def flops(self, kept: Mapping[str, int], sizes: Mapping[str, int]) -> float:
        """FLOPs when of each layer so many weights are left."""
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


class Meter(TorchDispatchMode):
    """Hears of every product that torch computes inside: the name of the weight that it reads, and its FLOPs.

    A backward pass costs what the forward pass cost for each gradient that was asked for.
    """

    def __init__(self, weights: Callable[[], Mapping[str, Tensor]], heard: Heard) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.over = False
        self._weights, self._heard = weights, heard
        self._names: dict[int, str] = {}

    def __enter__(self) -> Meter:
        self._names = {_place(weight): name for name, weight in self._weights().items()}
        super().__enter__()  # type: ignore[no-untyped-call]
        return self

    @classmethod
    def _should_skip_dynamo(cls) -> bool:
        """No: guarding against torch's compiler takes a fifth of every call, and its import where nobody has it yet."""
        return False

    def __torch_dispatch__(
        self, func: Any, types: Iterable[type], args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        out = func(*args, **(kwargs or {}))
        packet = func._overloadpacket
        if packet is torch.ops.aten.convolution_backward:
            self._hear_gradients(*args)
        elif packet in ATTENTION_FORMULAS:
            self._heard(OTHER, ATTENTION_FORMULAS[packet](*args))
        elif packet in flop_registry:
            self._heard(self._read(args), int(flop_registry[packet](*args, **(kwargs or {}), out_val=out)))
        return out

    def _hear_gradients(self, output: Tensor, inputs: Tensor, weight: Tensor, *more: Any) -> None:
        transposed, wanted = more[TRANSPOSED], more[WANTED]
        flops = int(conv_flop_count(list(inputs.shape), list(weight.shape), list(output.shape), transposed))
        if wanted[0]:
            self._heard(self._read((weight,)), flops)
        if wanted[1]:
            self._heard(OTHER, flops)

    def _read(self, tensors: Iterable[Any]) -> str:
        """The weight among these tensors. One that has moved since is none: something else may be in its place."""
        places = [_place(tensor) for tensor in tensors if isinstance(tensor, Tensor)]
        weights = self._weights()
        found = ((self._names[place], place) for place in places if place in self._names)
        return next((name for name, place in found if name in weights and _place(weights[name]) == place), OTHER)


def _place(tensor: Tensor) -> int:
    return tensor.untyped_storage().data_ptr()


@torch.no_grad()
def passage(model: nn.Module, weights: Mapping[str, Tensor], shape: tuple[int, ...]) -> Passage:
    """What the pass of one image of this shape, C×H×W, through a network costs."""
    found: Counter[str] = Counter()
    like = next(model.parameters())
    image = torch.ones(1, *shape, dtype=like.dtype, device=like.device)

    def heard(name: str, flops: int) -> None:
        found[name] += flops

    with mode(model, training=False), _stepwise_attention(), Meter(lambda: weights, heard):
        model(image)
    other = found.pop(OTHER, 0)
    return Passage({name: found[name] for name in weights}, other)


@contextmanager
def _stepwise_attention() -> Iterator[None]:
    """Inside, torch computes attention product by product: fused operators of some future torch hide none of them."""
    before = torch.backends.mha.get_fastpath_enabled()
    torch.backends.mha.set_fastpath_enabled(False)
    try:
        with sdpa_kernel(SDPBackend.MATH):
            yield
    finally:
        torch.backends.mha.set_fastpath_enabled(before)


class Gauge:
    """A meter on what a pruner computes by itself; it can be paused, and taken off in any order."""

    def __init__(self, weights: Callable[[], Mapping[str, Tensor]], heard: Heard) -> None:
        self._weights, self._heard = weights, heard
        self._running: Meter | None = None

    @contextmanager
    def on(self) -> Iterator[None]:
        """Inside, every product is heard of once."""
        with self.paused():
            meter = self._start(Meter(self._weights, self._heard))
            try:
                yield
            finally:
                meter.over = True
                self._stop()

    @contextmanager
    def paused(self) -> Iterator[None]:
        """Inside, nothing is heard."""
        meter = self._stop()
        try:
            yield
        finally:
            if meter and not meter.over:
                self._start(meter)

    def _start(self, meter: Meter) -> Meter:
        meter.__enter__()
        self._running = meter
        return meter

    def _stop(self) -> Meter | None:
        """Takes the running meter off, unless somebody has put another mode of torch over it."""
        meter = self._running
        if meter is None or _get_current_dispatch_mode() is not meter:
            return None
        meter.__exit__(None, None, None)  # type: ignore[no-untyped-call]
        self._running = None
        return meter
