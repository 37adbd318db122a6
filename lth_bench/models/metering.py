"""Meters what a pruner computes by itself: everything outside ticks, and in ticks each call beside the own passes."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor
from torch._C import _get_function_stack_at, _len_torch_function_stack
from torch._C._autograd import _get_sequence_nr
from torch.overrides import TorchFunctionMode

from lth_bench.models.flops import Meter, OnFlops

BACKWARD = (Tensor.backward, torch.autograd.backward, torch.autograd.grad)


class CallMeter(TorchFunctionMode):
    """Meters what is called of torch, call by call; nothing else costs time.

    The first backward pass through each of the network's `passes` was charged with that pass. It runs unmetered, which
    saves a fifth of a small network's step, unless a product that needs gradients was computed beside the passes.
    """

    def __init__(self, weights: Callable[[], Mapping[str, Tensor]], on_flops: OnFlops) -> None:
        super().__init__()
        self.passes: list[range] = []  # the numbers that autograd gives to their nodes
        self.over = self.muted = False
        self._meter, self._on_flops = Meter(weights, self._on_product), on_flops
        self._has_graph = False

    @property
    def is_innermost(self) -> bool:
        height = _len_torch_function_stack()
        return height > 0 and _get_function_stack_at(height - 1) is self

    def __torch_function__(
        self, func: Any, types: Iterable[type], args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        kwargs = kwargs or {}
        if self.muted or getattr(func, "__name__", "") == "__get__":
            return func(*args, **kwargs)
        if func in BACKWARD:
            return self._backward(func, args, kwargs)
        with self._meter:
            return func(*args, **kwargs)

    def _backward(self, func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        charged = self._passes_before(args[0])
        if charged and not self._has_graph:
            self._has_graph = bool(kwargs.get("create_graph"))
            return func(*args, **kwargs)
        self._meter.charged = charged
        try:
            with self._meter:
                return func(*args, **kwargs)
        finally:
            self._meter.charged = []

    def _passes_before(self, roots: Tensor | Sequence[Tensor]) -> list[range]:
        """Takes from `passes` those that began before these tensors were computed."""
        nodes = [root.grad_fn for root in ((roots,) if isinstance(roots, Tensor) else roots)]
        last = max([node._sequence_nr() for node in nodes if node is not None], default=-1)
        before = [numbers for numbers in self.passes if numbers.start <= last]
        del self.passes[: len(before)]
        return before

    def _on_product(self, name: str, flops: int) -> None:
        self._has_graph |= torch.is_grad_enabled()
        self._on_flops(name, flops)


class PausableMeter:
    """Meters what a pruner computes by itself; contexts may end in any order."""

    def __init__(self, weights: Callable[[], Mapping[str, Tensor]], on_flops: OnFlops) -> None:
        self._weights, self._on_flops = weights, on_flops
        self.calls = CallMeter(weights, on_flops)
        self._running: Meter | CallMeter | None = None
        self.depth = 0

    @property
    def hears(self) -> bool:
        """Whether what this thread computes now is reported."""
        modes = _len_torch_function_stack() + torch._C._len_torch_dispatch_stack()
        return self._running is not None and modes > 0

    @contextmanager
    def on(self) -> Iterator[None]:
        """Inside, every product is reported once."""
        meter = Meter(self._weights, self._on_flops)
        self.depth += 1
        with self.paused():
            self.start(meter)
            try:
                yield
            finally:
                self.depth -= 1
                meter.over = True
                self.stop()

    def by_call(self) -> _ByCall:
        """Inside, if `on()` is around it, products are reported except those of `own_pass()` and back through it."""
        return _ByCall(self)

    def own_pass(self) -> _OwnPass:
        """Inside, a pass that is charged together with its backward pass: neither is reported."""
        return _OwnPass(self)

    def paused(self) -> _Paused:
        """Inside, nothing is reported."""
        return _Paused(self)

    def start(self, meter: Meter | CallMeter) -> None:
        if meter.muted:
            meter.muted = False
        else:
            meter.__enter__()
        self._running = meter

    def stop(self) -> Meter | CallMeter | None:
        """Ends the running meter; one above which a mode of somebody else was entered is muted."""
        stopped, self._running = self._running, None
        if stopped and stopped.is_innermost:
            stopped.__exit__(None, None, None)  # type: ignore[no-untyped-call]
        elif stopped:
            stopped.muted = True
        return stopped


class _Paused:
    """A context without a generator, which would cost several times as much: a tick enters three of these."""

    __slots__ = ("_meter", "_stopped")

    def __init__(self, meter: PausableMeter) -> None:
        self._meter = meter

    def __enter__(self) -> None:
        self._stopped = self._meter.stop()

    def __exit__(self, *_: object) -> None:
        if self._stopped and not self._stopped.over:
            self._meter.start(self._stopped)


class _OwnPass(_Paused):
    __slots__ = ("_first",)

    def __enter__(self) -> None:
        super().__enter__()
        self._first = _get_sequence_nr()

    def __exit__(self, *details: object) -> None:
        if self._stopped is self._meter.calls:
            self._meter.calls.passes.append(range(self._first, _get_sequence_nr()))
        super().__exit__(*details)


class _ByCall:
    __slots__ = ("_meter",)

    def __init__(self, meter: PausableMeter) -> None:
        self._meter = meter

    def __enter__(self) -> None:
        self._meter.calls.passes.clear()
        if self._meter.depth:
            self._meter.start(self._meter.calls)

    def __exit__(self, *_: object) -> None:
        self._meter.stop()
