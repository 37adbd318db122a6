"""Weights that torch's parametrisations compute from other tensors, and the dense weights that they stand for."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import cast

import torch
from torch import Tensor, nn
from torch.nn.utils import parametrize

from lth_bench.errors import SessionError
from lth_bench.models.modes import mode
from lth_bench.storage.tensors import State

Make = Callable[[str, nn.Parameter], nn.Module]
DENSITIES = ("forward_density", "backward_density")
"""What a module may declare: the share of weights that a training pass reads, and of those with gradients."""


def parametrised(model: nn.Module) -> bool:
    """Whether any weight of the network is parametrised."""
    return any(parametrize.is_parametrized(module) for module in model.modules())


def register(model: nn.Module, weights: Mapping[str, nn.Parameter], make: Make) -> dict[str, nn.Module]:
    """Gives every weight the parametrisation that `make` returns for it; returns all of them by layer."""
    parametrisations = {}
    for name, weight in weights.items():
        path, _, leaf = name.rpartition(".")
        parametrisations[name] = _made(make, name, weight)
        parametrize.register_parametrization(model.get_submodule(path), leaf, parametrisations[name])
    return parametrisations


def _made(make: Make, name: str, weight: nn.Parameter) -> nn.Module:
    """The module that `make` returns for a weight. Raises SessionError."""
    if isinstance(make, nn.Module) or not callable(make):
        raise SessionError(
            f"parametrize() takes a function of a layer and its weight, not a value of type {type(make).__name__!r}; "
            "write parametrize(lambda layer, weight: MyModule())"
        )
    module = make(name, weight)
    if not isinstance(module, nn.Module):
        raise SessionError(
            f"for layer {name!r} the function given to parametrize() returned a value of type "
            f"{type(module).__name__!r}, not an nn.Module; write the computation as the forward() of a module"
        )
    return module


def declaring(modules: Mapping[str, nn.Module]) -> dict[str, nn.Module]:
    """The modules that declare how many weights a training pass uses, forward or backward, by layer."""
    return {name: module for name, module in modules.items() if any(hasattr(module, each) for each in DENSITIES)}


def used(layer: str, modules: Mapping[str, nn.Module], size: int, kept: int) -> tuple[int, int]:
    """The number of weights of a layer that passes read, and of those that get gradients. Raises SessionError."""
    densities = {each: getattr(modules.get(layer), each, kept / size) for each in DENSITIES}
    for name, density in densities.items():
        if not (isinstance(density, float | int) and 0 <= density <= 1):
            raise SessionError(
                f"{name} of the module that computes layer {layer!r} must be the share of its weights that a pass "
                f"uses, from 0 to 1, not {density!r}"
            )
    forward, backward = (round(density * size) for density in densities.values())
    return forward, backward


@torch.no_grad()
def dense_state(model: nn.Module) -> State:
    """The state of the dense architecture; a parametrised weight has its value of evaluation mode."""
    plain = {name: value for name, value in model.state_dict().items() if "parametrizations" not in name.split(".")}
    with mode(model, training=False):
        return {**plain, **{name: getattr(module, leaf).detach() for name, module, leaf in _weights(model)}}


def elements(model: nn.Module) -> dict[str, int]:
    """The number of elements that each parametrised weight is computed from, by its name."""
    return {
        name: sum(value.numel() for value in parametrisations[leaf].state_dict().values())
        for name, module, leaf in _weights(model)
        for parametrisations in [cast(nn.ModuleDict, module.parametrizations)]
    }


def bake(model: nn.Module) -> None:
    """Ends all parametrisations: every weight becomes a parameter with its value of evaluation mode."""
    with mode(model, training=False):
        for _, module, leaf in list(_weights(model)):
            order = [*module._parameters, leaf]
            parametrize.remove_parametrizations(module, leaf, leave_parametrized=True)
            module._parameters = {name: module._parameters[name] for name in sorted(order, key=_place)}


def _weights(model: nn.Module) -> Iterator[tuple[str, nn.Module, str]]:
    """Of each parametrised weight: its full name, its module, and its name there."""
    for path, module in model.named_modules():
        for leaf in list(getattr(module, "parametrizations", None) or ()):
            yield f"{path}.{leaf}".removeprefix("."), module, leaf


def _place(name: str) -> int:
    """Orders weights before biases, as torch does."""
    return name == "bias"


def nonzero_count(state: Mapping[str, Tensor], names: Mapping[str, object]) -> int:
    """The number of non-zero elements in the named tensors of a state."""
    return sum(int(state[name].count_nonzero()) for name in names)
