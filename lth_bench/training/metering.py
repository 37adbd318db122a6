"""Meters what a pruner computes by itself: everything outside ticks, and in ticks each call beside the own passes."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import cache, wraps
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
from torch._ops import OpOverloadPacket
from torch.overrides import TorchFunctionMode, handle_torch_function, has_torch_function

from lth_bench.models.flops import Meter, OnFlops, is_counted
from lth_bench.training.fast_step import backward

T = TypeVar("T")


def show_to_modes(plain: Callable[..., None]) -> Callable[..., None]:
    """A `torch.autograd.backward` of which modes hear; that of torch 2.6 is called past them."""
    heard = []

    class Listener(TorchFunctionMode):
        def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> None:
            heard.append(func)

    @wraps(plain)
    def backward(tensors: Any, *args: Any, **options: Any) -> None:
        roots = (tensors,) if isinstance(tensors, Tensor) else tuple(tensors)
        if has_torch_function(roots):
            handle_torch_function(backward, roots, tensors, *args, **options)
        else:
            plain(tensors, *args, **options)

    vector = torch.ones(2, requires_grad=True)
    with Listener(), suppress(RuntimeError):
        plain(vector)  # no mode, no gradient: refused before torch starts threads, which no fork would survive
    return plain if plain in heard else backward


torch.autograd.backward = show_to_modes(torch.autograd.backward)
BACKWARD = (Tensor.backward, torch.autograd.backward, torch.autograd.grad)


@dataclass(eq=False)
class OwnPass:
    """A pass of the network: its last node, the numbers of all in autograd, and whether it was gone back through.

    One way back is charged with the pass.
    """

    node: Any
    numbers: range
    spent: bool = False

    def spend(self, _gradients: object = None) -> None:
        self.spent = True


class CallMeter(TorchFunctionMode):
    """Meters what is called of torch, call by call; nothing else takes time.

    The first backward pass through each of the network's own `passes` was charged with that pass. Backward passes run
    unmetered until there is more to go back through: a pass for the second time, or products beside the passes.
    """

    def __init__(self, weights: Callable[[], Mapping[str, Tensor]], on_flops: OnFlops) -> None:
        super().__init__()
        self.passes: list[OwnPass] = []
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
        unspent = [one for one in self.passes if not one.spent]
        _watch(unspent, args[0])
        if 0 < len(unspent) == len(self.passes) and not self._has_graph:
            self._has_graph = bool(kwargs.get("create_graph"))
            return backward(args[0]) if _is_usual(func, kwargs) else func(*args, **kwargs)
        self._meter.charged = [one.numbers for one in unspent]
        try:
            with self._meter:
                return func(*args, **kwargs)
        finally:
            self._meter.charged = []

    def _on_product(self, name: str, flops: int) -> None:
        self._has_graph |= torch.is_grad_enabled()
        self._on_flops(name, flops)


def _watch(unspent: list[OwnPass], roots: Tensor | Sequence[Tensor]) -> None:
    """Notes which passes a backward pass that starts at these tensors will go back through."""
    nodes = [getattr(root, "grad_fn", None) for root in ((roots,) if isinstance(roots, Tensor) else roots)]
    direct = [one for one in unspent if one.node in nodes]
    for one in direct:
        one.spend()
    if len(direct) < len(nodes):
        for one in unspent:
            one.node.register_prehook(one.spend)


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
    if not isinstance(packet, OpOverloadPacket) or is_counted(packet):
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
            result = call(*arguments)
        finally:
            self._own_passes -= 1
            if stopped:
                self._start(stopped)
        if stopped and (node := getattr(result, "grad_fn", None)):
            self._calls.passes.append(OwnPass(node, range(first, _get_sequence_nr())))
        return result

    def silently(self, call: Callable[[], None]) -> None:
        """Makes a call as inside `paused()`."""
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
