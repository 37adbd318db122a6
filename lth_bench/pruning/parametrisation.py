"""Weights that are computed from something else, by torch's parametrisations, and what they stand for."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import cast

import torch
from torch import Tensor, nn
from torch.nn.utils import parametrize

from lth_bench.models.modes import mode
from lth_bench.storage.tensors import State

Make = Callable[[str, nn.Parameter], nn.Module]


def parametrised(model: nn.Module) -> bool:
    """Whether any weight of the network is computed from something else."""
    return any(parametrize.is_parametrized(module) for module in model.modules())


def register(model: nn.Module, weights: Mapping[str, nn.Parameter], make: Make) -> dict[str, nn.Module]:
    """Gives every weight the parametrisation that `make` makes for it; returns those by layer."""
    made = {}
    for name, weight in weights.items():
        path, _, leaf = name.rpartition(".")
        made[name] = make(name, weight)
        parametrize.register_parametrization(model.get_submodule(path), leaf, made[name])
    return made


@torch.no_grad()
def dense_state(model: nn.Module) -> State:
    """The state of the dense architecture: every parametrised weight is what it is in evaluation mode."""
    plain = {name: value for name, value in model.state_dict().items() if "parametrizations" not in name.split(".")}
    with mode(model, training=False):
        return {**plain, **{name: getattr(module, leaf).detach() for name, module, leaf in _weights(model)}}


def elements(model: nn.Module) -> dict[str, int]:
    """How many numbers each parametrised weight is computed from, by its name."""
    return {
        name: sum(value.numel() for value in parametrisations[leaf].state_dict().values())
        for name, module, leaf in _weights(model)
        for parametrisations in [cast(nn.ModuleDict, module.parametrizations)]
    }


def bake(model: nn.Module) -> None:
    """Ends all parametrisations: every weight becomes a parameter that holds what it is in evaluation mode."""
    with mode(model, training=False):
        for _, module, leaf in list(_weights(model)):
            order = [*module._parameters, leaf]
            parametrize.remove_parametrizations(module, leaf, leave_parametrized=True)
            module._parameters = {name: module._parameters[name] for name in sorted(order, key=_place)}


def _weights(model: nn.Module) -> Iterator[tuple[str, nn.Module, str]]:
    """Names of parametrised weights, the modules that have them, and what they call them."""
    for path, module in model.named_modules():
        for leaf in list(getattr(module, "parametrizations", None) or ()):
            yield f"{path}.{leaf}".removeprefix("."), module, leaf


def _place(name: str) -> int:
    """Weights come before biases, as torch makes them."""
    return name == "bias"


def nonzero_count(state: Mapping[str, Tensor], names: Mapping[str, object]) -> int:
    """Weights of the dense architecture that are not zero."""
    return sum(int(state[name].count_nonzero()) for name in names)
