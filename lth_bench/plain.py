"""Whether a Session still trains the network that was made for it, by the loop that the harness knows."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
from torch import nn
from torch.nn.modules import module as global_hooks

if TYPE_CHECKING:
    from lth_bench.session import Session

SIMPLE = (int, float, complex, str, bool, bytes, type(None), torch.dtype, torch.device)


class Plainness:
    """How a network was made. Parametrised, hooked, frozen or rebuilt, it is not the plain one any more."""

    def __init__(self, session: Session) -> None:
        self._made = _description(session.model)
        self._alive = [dict(vars(module)) for module in session.model.modules()]  # so that no id is given twice

    def holds(self, session: Session) -> bool:
        """Whether training depends on nothing but the state, the recipe, the data and the seed."""
        overridden = {"loss", "update", "batches", "compute"} & set(vars(session))
        return not overridden and _surroundings_are_plain() and _description(session.model) == self._made


def _surroundings_are_plain() -> bool:
    hooks = [hooks for name, hooks in vars(global_hooks).items() if name.startswith("_global") and "hooks" in name]
    modes = torch._C._len_torch_function_stack() + torch._C._len_torch_dispatch_stack()
    autocast = torch.is_autocast_enabled("cpu") or torch.is_autocast_enabled("cuda")
    return torch.is_grad_enabled() and not autocast and not modes and not any(hooks)


def _description(model: nn.Module) -> list[Any]:
    """All that a network consists of but for the values of its tensors; comparable within one process."""
    return [
        (name, id(module), type(module), _attributes(module), _parameters(module), _shapes(module))
        for name, module in model.named_modules()
    ]


def _attributes(module: nn.Module) -> dict[str, Any]:
    hidden = {"training", "_parameters", "_buffers", "_modules"}
    return {name: _comparable(value) for name, value in vars(module).items() if name not in hidden}


def _comparable(value: Any) -> Any:
    if isinstance(value, SIMPLE):
        return value
    if isinstance(value, (list, tuple, set, frozenset)):
        return type(value), [_comparable(item) for item in value]
    if isinstance(value, dict):
        return [(_comparable(key), _comparable(item)) for key, item in value.items()]
    return id(value)


def _parameters(module: nn.Module) -> list[Any]:
    return [
        (name, id(value), value.requires_grad, bool(value._backward_hooks), bool(_after_gradient(value)))
        for name, value in module._parameters.items()
        if value is not None
    ]


def _after_gradient(parameter: nn.Parameter) -> Any:
    return getattr(parameter, "_post_accumulate_grad_hooks", None)


def _shapes(module: nn.Module) -> list[Any]:
    return [(n, tuple(b.shape), b.dtype) for n, b in module._buffers.items() if b is not None]
