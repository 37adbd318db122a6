"""Meters what a pruner computes by itself: everything outside ticks, and in ticks each call beside the own passes."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import cache
from types import BuiltinFunctionType, MethodDescriptorType
from typing import Any, TypeVar

import torch
from torch import Tensor
from torch._C import (
    _get_function_stack_at,
    _len_torch_function_stack,
    _pop_torch_function_stack,
    _push_on_torch_function_stack,
)
from torch._C._autograd import _get_sequence_nr
from torch.overrides import TorchFunctionMode

from lth_bench.models.flops import Meter, OnFlops, is_counted
from lth_bench.training.fast_step import backward

T = TypeVar("T")
BACKWARD = (Tensor.backward, torch.autograd.backward, torch.autograd.grad)


class CallMeter(TorchFunctionMode):
    """Meters what is called of torch, call by call; nothing else takes time.

    The first backward pass through each of the network's `passes` was charged with that pass. It runs unmetered, unless
    a product that needs gradients was computed beside the passes.
    """

    def __init__(self, weights: Callable[[], Mapping[str, Tensor]], on_flops: OnFlops) -> None:
        super().__init__()
        self.passes: list[range] = []  # the numbers that autograd gives to their nodes
        self.over = self._muted = self._has_graph = False
        self._meter, self._on_flops = Meter(weights, self._on_product), on_flops

    def start(self) -> None:
        if self._muted:
            self._muted = False
        else:
            _push_on_torch_function_stack(self)

    def stop(self) -> None:
        """Ends the meter, or mutes it if somebody else has entered a mode of torch above it."""
        height = _len_torch_function_stack()
        if height and _get_function_stack_at(height - 1) is self:
            _pop_torch_function_stack()
        else:
            self._muted = True

    def __torch_function__(
        self, func: Any, types: Iterable[type], args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        kwargs = kwargs or {}
        if func in BACKWARD and not self._muted:
            return self._backward(func, args, kwargs)
        if self._muted or _is_uncounted(func):
            return func(*args, **kwargs)
        with self._meter:
            return func(*args, **kwargs)

    def _backward(self, func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        charged = self._passes_before(args[0])
        if charged and not self._has_graph:
            self._has_graph = bool(kwargs.get("create_graph"))
            return backward(args[0]) if _is_usual(func, kwargs) else func(*args, **kwargs)
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
        count = sum([numbers.start <= last for numbers in self.passes])
        before, self.passes = self.passes[:count], self.passes[count:]
        return before

    def _on_product(self, name: str, flops: int) -> None:
        self._has_graph |= torch.is_grad_enabled()
        self._on_flops(name, flops)


def _is_usual(func: Any, options: dict[str, Any]) -> bool:
    """Whether a call is `loss.backward()` without arguments."""
    given = options.get("gradient") is not None or options.get("inputs") is not None
    return func is Tensor.backward and not (given or options.get("retain_graph") or options.get("create_graph"))


def _is_uncounted(func: Any) -> bool:
    """Whether a function reads an attribute, or is one operator of torch that no meter counts."""
    if isinstance(func, MethodDescriptorType | BuiltinFunctionType):
        return _is_uncounted_operator(func.__name__)
    return getattr(func, "__name__", "") == "__get__"


@cache
def _is_uncounted_operator(name: str) -> bool:
    """Whether all operators of this name are computed as such, not by others among which there may be products."""
    packet = getattr(torch.ops.aten, name, None)
    if packet is None or is_counted(packet):
        return False
    names = {getattr(packet, overload).name() for overload in packet.overloads() if "Dimname" not in overload}
    return not any(map(_is_composite, names & _operators()))


def _is_composite(name: str) -> bool:
    return torch._C._dispatch_has_kernel_for_dispatch_key(name, "CompositeImplicitAutograd")


@cache
def _operators() -> set[str]:
    return set(torch._C._dispatch_get_all_op_names())


class PausableMeter:
    """Meters what a pruner computes by itself; contexts may end in any order."""

    def __init__(self, weights: Callable[[], Mapping[str, Tensor]], on_flops: OnFlops) -> None:
        self._weights, self._on_flops = weights, on_flops
        self._calls = CallMeter(weights, on_flops)
        self._running: Meter | CallMeter | None = None
        self._depth = self._own_passes = 0

    @property
    def hears(self) -> bool:
        """Whether what this thread computes now is reported."""
        modes = _len_torch_function_stack() + torch._C._len_torch_dispatch_stack()
        return self._running is not None and modes > 0

    @property
    def pauses(self) -> bool:
        """Whether nothing is to be reported now, but for a pass that is charged otherwise."""
        return self._running is None and not self._own_passes

    @contextmanager
    def on(self) -> Iterator[None]:
        """Inside, every product is reported once."""
        meter = Meter(self._weights, self._on_flops)
        self._depth += 1
        with self.paused():
            self._start(meter)
            try:
                yield
            finally:
                self._depth -= 1
                meter.over = True
                self._stop()

    @contextmanager
    def paused(self) -> Iterator[None]:
        """Inside, nothing is reported."""
        stopped = self._stop()
        try:
            yield
        finally:
            if stopped and not stopped.over:
                self._start(stopped)

    # The rest is called in every tick, where contexts made of generators would take a hundredth of a small step.

    def __enter__(self) -> None:
        """Inside, if `on()` is around it, products are reported except those of `own_pass` and back through it."""
        self._calls.passes.clear()
        if self._depth:
            self._start(self._calls)

    def __exit__(self, *_: object) -> None:
        self._stop()

    def own_pass(self, call: Callable[..., T], *arguments: Any) -> T:
        """The result of a pass that is charged together with its backward pass: neither is reported."""
        self._own_passes += 1
        first, stopped = _get_sequence_nr(), self._stop()
        try:
            return call(*arguments)
        finally:
            self._own_passes -= 1
            if stopped:
                self._calls.passes.append(range(first, _get_sequence_nr()))
                self._start(stopped)

    def silently(self, call: Callable[[], None]) -> None:
        """Makes a call in which nothing is reported."""
        stopped = self._stop()
        try:
            call()
        finally:
            if stopped:
                self._start(stopped)

    def _start(self, meter: Meter | CallMeter) -> None:
        meter.start()
        self._running = meter

    def _stop(self) -> Meter | CallMeter | None:
        stopped = self._running
        if stopped is not None:
            self._running = None
            stopped.stop()
        return stopped
