"""Whether a Session still trains the network that was made for it, by the loop that the harness knows."""

from __future__ import annotations

import functools
import random
import re
from collections import deque
from pathlib import PurePath
from types import BuiltinFunctionType, FunctionType, MethodType, ModuleType
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.modules import module as global_hooks
from torch.optim import optimizer as optimizer_hooks

from lth_bench.data.lazy import LazyExamples
from lth_bench.hashing import sha256
from lth_bench.storage.tensors import NAMES, serialized
from lth_bench.training import account, clock, course, fast_step, monitor, optimizers, state, topology
from lth_bench.training import session as session_module
from lth_bench.training.optimizers import make_optimizer

if TYPE_CHECKING:
    from lth_bench.training.session import Session

SIMPLE = (int, float, complex, str, bool, bytes, type(None), range, slice)
FUNCTIONS = (type, ModuleType, FunctionType, BuiltinFunctionType, MethodType, property)
TORCH = (torch.dtype, torch.device, torch.memory_format, torch.layout)
FIXED = (nn.Module, LazyExamples, *FUNCTIONS, *TORCH, re.Pattern, PurePath)
"""Types whose values are compared by identity: they have no state, or their state is described elsewhere."""
MODULES = (session_module, account, clock, course, fast_step, monitor, optimizers, state, topology)
"""The modules whose functions train."""


class Purity:
    """How a Session was made. Parametrised, hooked, frozen, rebuilt or driven otherwise, it is not the plain one."""

    def __init__(self, session: Session) -> None:
        self._code = _code(session)
        self._alive: list[Any] = []  # values described by their ids, kept so that no id is given twice
        self._description = _description(session, self._alive)

    def holds(self, session: Session) -> bool:
        """Whether training depends on nothing but the state, the recipe, the data and the seed."""
        shadowed = any(name in vars(type(part)) for part in _parts(session) for name in vars(part))
        around = _surroundings_are_plain() and _optimizer_is_plain(session) and _code(session) == self._code
        return not shadowed and around and _description(session, []) == self._description


def _parts(session: Session) -> tuple[object, ...]:
    return session, session.clock, session.topology, session.account, session.course


def _code(session: Session) -> list[Any]:
    """The functions that training calls."""
    forwards = [type(module).forward for module in session.model.modules()]
    methods = [dict(vars(type(part))) for part in _parts(session)]
    functions = [{name: value for name, value in vars(module).items() if callable(value)} for module in MODULES]
    return [forwards, dict(vars(nn.functional)), methods, functions]


def _surroundings_are_plain() -> bool:
    everywhere = {**vars(global_hooks), **vars(optimizer_hooks)}
    hooks = [hooks for name, hooks in everywhere.items() if name.startswith("_global") and "hooks" in name]
    modes = torch._C._len_torch_function_stack() + torch._C._len_torch_dispatch_stack()
    autocast = torch.is_autocast_enabled("cpu") or torch.is_autocast_enabled("cuda")
    return torch.is_grad_enabled() and not autocast and not modes and not any(hooks)


def _optimizer_is_plain(session: Session) -> bool:
    """Whether an optimiser is what the recipe makes for these parameters, with nothing attached to it."""
    optimizer = session.optimizer
    if optimizer is None:
        return True
    fresh = make_optimizer(session.recipe, session.model)
    hooks = [value for name, value in vars(optimizer).items() if "hooks" in name]
    return (
        type(optimizer) is type(fresh)
        and set(vars(optimizer)) == set(vars(fresh))
        and _owned(optimizer) == _owned(fresh)
        and _kinds(optimizer) == _kinds(fresh)
        and not any(hooks)
    )


def _owned(optimizer: torch.optim.Optimizer) -> list[list[int]]:
    return [[id(parameter) for parameter in group["params"]] for group in optimizer.param_groups]


def _kinds(optimizer: torch.optim.Optimizer) -> list[dict[str, type]]:
    return [{name: type(value) for name, value in group.items()} for group in optimizer.param_groups]


def _description(session: Session, alive: list[Any]) -> list[Any]:
    """All that training consists of except the values of weights and buffers; comparable within one process."""
    state = [*session.model.parameters(), *session.model.buffers()]
    seen = _Seen({id(tensor) for tensor in state}, alive)
    schedule = seen.parts(session.schedule), session.total_steps, session.clock.measure_every
    loop = session.recipe, session.seed, schedule, id(session.order)
    order = session.order.recipe, session.order.seed
    data = seen.parts(session.order.data), seen.parts(session.course.validation)
    network = [
        (name, id(module), seen.parts(type(module)), _attributes(module, seen), _parameters(module))
        for name, module in session.model.named_modules()
    ]
    return [[id(part) for part in _parts(session)], loop, order, data, network, _buffers(session.model)]


def _attributes(module: nn.Module, seen: _Seen) -> dict[str, Any]:
    hidden = {"training", "_parameters", "_buffers", "_modules"}
    return {name: seen.parts(value) for name, value in vars(module).items() if name not in hidden}


class _Seen:
    """Takes values apart into descriptions to be compared later; a value met before is described by its number."""

    def __init__(self, state: set[int], alive: list[Any]) -> None:
        self.state, self.alive = state, alive
        self.numbers: dict[int, int] = {}

    def parts(self, value: Any) -> Any:
        """The parts of a value; values that cannot be described compare unequal to everything."""
        if isinstance(value, SIMPLE):
            return type(value), value
        self.alive.append(value)
        if id(value) in self.numbers:
            return "seen", self.numbers[id(value)]
        self.numbers[id(value)] = len(self.numbers)
        if isinstance(value, Tensor):
            return id(value), None if id(value) in self.state else value._version
        if isinstance(value, FIXED):
            return id(value)
        try:
            return type(value), self._inside(value)
        except RecursionError:
            return object()

    def _inside(self, value: Any) -> Any:
        if isinstance(value, np.ndarray) and value.dtype != object:
            return value.shape, str(value.dtype), sha256(np.ascontiguousarray(value).tobytes())
        if isinstance(value, torch.Generator):
            return self.parts(value.get_state().numpy())
        if isinstance(value, (np.random.Generator, np.random.RandomState)):
            return self.parts(getattr(value, "bit_generator", value).__getstate__())
        if isinstance(value, random.Random):
            return value.getstate()
        if isinstance(value, (list, tuple, set, frozenset, deque)):
            return [self.parts(item) for item in value]
        if isinstance(value, dict):
            return [(self.parts(key), self.parts(item)) for key, item in value.items()]
        if isinstance(value, functools.partial):
            return [self.parts(part) for part in (value.func, value.args, value.keywords)]
        slots = [name for kind in type(value).__mro__ for name in getattr(kind, "__slots__", ())]
        if not hasattr(value, "__dict__") and not slots:
            return object()
        return [self.parts(vars(value)) if hasattr(value, "__dict__") else None] + [
            self.parts(getattr(value, name, None)) for name in slots
        ]


def _parameters(module: nn.Module) -> list[Any]:
    return [
        (name, id(value), value.requires_grad, value.stride(), _has_hooks(value))
        for name, value in module._parameters.items()
        if value is not None
    ]


def _has_hooks(parameter: nn.Parameter) -> bool:
    return bool(parameter._backward_hooks or getattr(parameter, "_post_accumulate_grad_hooks", None))


def _buffers(model: nn.Module) -> list[Any]:
    """Shapes of the buffers that are state, and the hash of those that are not: no snapshot brings these back."""
    state = {name: value for name, value in model.state_dict().items() if value.dtype in NAMES}
    hidden = {name: value for name, value in model.named_buffers() if name not in state}
    shapes = [(name, tuple(value.shape), value.dtype) for name, value in state.items()]
    if any(value.dtype not in NAMES for value in hidden.values()):
        return [object()]  # equals no other description, because such a buffer cannot be hashed
    return [shapes, sha256(serialized(hidden))]
