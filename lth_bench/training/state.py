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

    Inside, all gradients are zero at first, those of parameters that no pass will reach too.
    """
    state, buffers = copied(model), _buffers(model)
    autograd = [(parameter, parameter.grad, parameter.requires_grad) for parameter in model.parameters()]
    for parameter, *_ in autograd:
        parameter.grad = torch.zeros_like(parameter)
    try:
        yield
    finally:
        for module, name, buffer, value in buffers:
            module._buffers[name] = buffer
            buffer.data = value
        _restore_types(model, state)
        load(model, state)
        for parameter, gradient, trainable in autograd:
            parameter.grad, parameter.requires_grad = gradient, trainable


def convert(model: nn.Module, precision: torch.dtype | None) -> None:
    """Brings parameters and buffers of floats and complex numbers into a precision, if one is given."""
    if precision is None:
        return
    types = {False: precision, True: precision.to_complex()}
    model._apply(
        lambda value: value.to(types[value.is_complex()]) if value.is_floating_point() or value.is_complex() else value
    )


def infinite_places(model: nn.Module) -> State:
    """By buffer, where its values are not finite, as in a causal mask; buffers of finite values are absent."""
    places = {name: ~buffer.isfinite() for name, buffer in model.named_buffers(remove_duplicate=False)}
    return {name: place for name, place in places.items() if place.any()}


def diverged(model: nn.Module, infinite: State) -> str | None:
    """The first name in the state with a value that is not finite, except at the `infinite` places."""
    for name, value in model.state_dict().items():
        place = ~value.isfinite()
        if name in infinite and infinite[name].shape == place.shape:
            place &= ~infinite[name]
        if place.any():
            return name
    return None


def _buffers(model: nn.Module) -> list[tuple[nn.Module, str, Tensor, Tensor]]:
    """All buffers, also those that are no state: module, name, tensor and a copy of the tensor."""
    return [
        (module, name, buffer, buffer.clone())
        for module in model.modules()
        for name, buffer in module._buffers.items()
        if buffer is not None
    ]


def _restore_types(model: nn.Module, state: State) -> None:
    for name, parameter in model.named_parameters():
        if name in state:
            parameter.data = parameter.data.to(state[name].dtype)
