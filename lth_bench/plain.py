"""Whether a Session still trains the network that was made for it, by the loop that the harness knows."""

from __future__ import annotations

import functools
from types import FunctionType, ModuleType
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.modules import module as global_hooks
from torch.optim import optimizer as optimizer_hooks

from lth_bench.files import sha256
from lth_bench.optimizers import make_optimizer
from lth_bench.tensors import NAMES, serialized

if TYPE_CHECKING:
    from lth_bench.session import Session

SIMPLE = (int, float, complex, str, bool, bytes, type(None), torch.dtype, torch.device)
OPAQUE = (nn.Module, type, FunctionType, ModuleType)


class Plainness:
    """How a Session was made. Parametrised, hooked, frozen, rebuilt or driven otherwise, it is not the plain one."""

    def __init__(self, session: Session) -> None:
        self._kind, self._made = type(session), _description(session)
        self._methods = dict(vars(self._kind))
        self._alive = [dict(vars(module)) for module in session.model.modules()]  # so that no id is given twice

    def holds(self, session: Session) -> bool:
        """Whether training depends on nothing but the state, the recipe, the data and the seed."""
        own = type(session) is self._kind and dict(vars(self._kind)) == self._methods
        shadowed = any(name in self._methods for name in vars(session))
        around = _surroundings_are_plain() and _optimizer_is_plain(session)
        return own and not shadowed and around and _description(session) == self._made


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
    trainable = [parameter for parameter in session.model.parameters() if parameter.requires_grad]
    fresh = make_optimizer(session.recipe, trainable)
    owned = [id(parameter) for group in optimizer.param_groups for parameter in group["params"]]
    hooks = [value for name, value in vars(optimizer).items() if "hooks" in name]
    return (
        type(optimizer) is type(fresh)
        and set(vars(optimizer)) == set(vars(fresh))
        and owned == [id(parameter) for parameter in trainable]
        and not any(hooks)
    )


def _description(session: Session) -> list[Any]:
    """All that training consists of but for the values of weights and buffers; comparable within one process."""
    loop = session.recipe, session.seed, session.total_steps, session._measure_every, id(session._stream)
    data = _comparable(session._stream.data, set()), session._stream.batch_size, session._stream.seed
    network = [
        (name, id(module), type(module), id(type(module).forward), _attributes(module), _parameters(module))
        for name, module in session.model.named_modules()
    ]
    return [loop, data, id(nn.functional.cross_entropy), network, _buffers(session.model)]


def _attributes(module: nn.Module) -> dict[str, Any]:
    hidden = {"training", "_parameters", "_buffers", "_modules"}
    return {name: _comparable(value, {id(module)}) for name, value in vars(module).items() if name not in hidden}


def _comparable(value: Any, above: set[int]) -> Any:
    """A value as what can be compared later: what it consists of, as far as that is to be seen."""
    if isinstance(value, SIMPLE):
        return value
    if isinstance(value, Tensor):
        return id(value), value._version
    if isinstance(value, np.ndarray):
        return value.shape, str(value.dtype), sha256(np.ascontiguousarray(value).tobytes())
    if isinstance(value, OPAQUE) or id(value) in above:
        return id(value)
    inner = above | {id(value)}
    if isinstance(value, (list, tuple, set, frozenset)):
        return type(value), [_comparable(item, inner) for item in value]
    if isinstance(value, dict):
        return [(_comparable(key, inner), _comparable(item, inner)) for key, item in value.items()]
    if isinstance(value, functools.partial):
        return _comparable((value.func, value.args, value.keywords), inner)
    return id(value), type(value), _comparable(getattr(value, "__dict__", None), inner)


def _parameters(module: nn.Module) -> list[Any]:
    return [
        (name, id(value), value.requires_grad, value.stride(), _has_hooks(value))
        for name, value in module._parameters.items()
        if value is not None
    ]


def _has_hooks(parameter: nn.Parameter) -> bool:
    return bool(parameter._backward_hooks or getattr(parameter, "_post_accumulate_grad_hooks", None))


def _buffers(model: nn.Module) -> list[Any]:
    """Shapes of the buffers that are state, and the hash of those that are not: they come back from no snapshot."""
    state = {name: value for name, value in model.state_dict().items() if value.dtype in NAMES}
    hidden = {name: value for name, value in model.named_buffers() if name not in state}
    shapes = [(name, tuple(value.shape), value.dtype) for name, value in state.items()]
    if any(value.dtype not in NAMES for value in hidden.values()):
        return [object()]  # what cannot be hashed equals nothing, not even itself
    return [shapes, sha256(serialized(hidden))]
