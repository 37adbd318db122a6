"""The state of a network: copied, loaded, and restored after scoring."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from lth_bench.errors import SessionError
from lth_bench.pruning import parametrisation
from lth_bench.storage.tensors import State


@dataclass(frozen=True)
class Snapshot:
    """Weights, buffers, optimiser state (None before the first update) and clock."""

    step: int
    state: State
    optimizer: dict[str, Any] | None


def check_snapshot(snapshot: object) -> None:
    """Raises SessionError unless this is a snapshot."""
    if not isinstance(snapshot, Snapshot):
        raise SessionError(
            f"rewind() goes back to what snapshot() returned, not to a value of type {type(snapshot).__name__!r}; "
            "take a snapshot at the step to go back to, or set back the clock alone by rewind_clock()"
        )


def copied(model: nn.Module) -> State:
    """A copy of the weights and buffers."""
    return {name: value.detach().clone() for name, value in model.state_dict().items()}


def dense(model: nn.Module) -> State:
    """A copy of the state of the network that is evaluated, in which every weight is a plain tensor."""
    return {name: value.clone() for name, value in parametrisation.dense_state(model).items()}


def load(model: nn.Module, state: State) -> None:
    """Copies a state into the network. Raises SessionError unless it has the same names."""
    mine = model.state_dict()
    if mine.keys() != state.keys():
        raise SessionError("a snapshot is of a network whose weights were computed otherwise; take one after that")
    with torch.no_grad():
        for name, value in mine.items():
            value.copy_(state[name])


def saved_optimizer(optimizer: torch.optim.Optimizer | None) -> dict[str, Any] | None:
    """A copy of an optimiser's state and options."""
    return copy.deepcopy(optimizer.state_dict()) if optimizer else None


@contextmanager
def undone(model: nn.Module) -> Iterator[None]:
    """Restores values and types of weights, buffers and gradients on leaving, whatever happens to them inside.

    Inside, there are no gradients at first.
    """
    state, hidden = copied(model), _buffers_outside(model)
    autograd = [(parameter, parameter.grad, parameter.requires_grad) for parameter in model.parameters()]
    for parameter, *_ in autograd:
        parameter.grad = None
    try:
        yield
    finally:
        _restore_types(model, state)
        load(model, state)
        for module, name, buffer, value in hidden:
            module._buffers[name] = buffer
            buffer.data = value
        for parameter, gradient, trainable in autograd:
            parameter.grad, parameter.requires_grad = gradient, trainable


def _buffers_outside(model: nn.Module) -> list[tuple[nn.Module, str, Tensor, Tensor]]:
    """The non-persistent buffers: module, name, tensor and a copy of the tensor."""
    return [
        (module, name, buffer, buffer.clone())
        for module in model.modules()
        for name, buffer in module._buffers.items()
        if buffer is not None and name in module._non_persistent_buffers_set
    ]


def _restore_types(model: nn.Module, state: State) -> None:
    for name, parameter in model.named_parameters():
        if name in state:
            parameter.data = parameter.data.to(state[name].dtype)
    for path, module in model.named_modules():
        for name, buffer in module._buffers.items():
            value = state.get(f"{path}.{name}".removeprefix("."))
            if buffer is not None and value is not None:
                module._buffers[name] = buffer.to(value.dtype)
