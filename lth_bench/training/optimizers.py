"""Optimisers of a recipe, and their state under masks."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from lth_bench.errors import SessionError
from lth_bench.experiments.recipe import Recipe


def make_optimizer(recipe: Recipe, model: nn.Module) -> torch.optim.Optimizer:
    """The recipe's optimiser of all trainable parameters; the learning rate is set before every step."""
    options: dict[str, Any] = {"lr": recipe.learning_rate, "weight_decay": recipe.weight_decay, "fused": True}
    groups = _groups(recipe, model)
    if recipe.optimizer == "sgd":
        return torch.optim.SGD(groups, momentum=recipe.momentum, nesterov=recipe.nesterov, **options)
    kind = torch.optim.Adam if recipe.optimizer == "adam" else torch.optim.AdamW
    return kind(groups, **options)


def _groups(recipe: Recipe, model: nn.Module) -> list[Any]:
    """Parameters, in groups with and without decay: biases, norm layers and what the timm model names do not decay."""
    if recipe.decay == "all":
        return [parameter for parameter in model.parameters() if parameter.requires_grad]
    from timm.optim import param_groups_weight_decay  # type: ignore[attr-defined]  # timm is needed nowhere else here

    named: Any = getattr(model, "no_weight_decay", ())
    names = named() if callable(named) else named
    return list(param_groups_weight_decay(model, recipe.weight_decay, no_weight_decay_list=names))


def restore_state(optimizer: torch.optim.Optimizer, state: dict[str, Any]) -> None:
    """Loads an optimiser's state; every tensor gets the layout of its weight, which fused optimisers rely on."""
    optimizer.load_state_dict(copy.deepcopy(state))
    for weight, values in optimizer.state.items():
        for name, value in values.items():
            if isinstance(value, Tensor) and value.shape == weight.shape and value.stride() != weight.stride():
                values[name] = torch.empty_like(weight, dtype=value.dtype).copy_(value).detach()


def restored(
    optimizer: torch.optim.Optimizer | None, saved: dict[str, Any] | None, recipe: Recipe, model: nn.Module
) -> torch.optim.Optimizer | None:
    """This optimiser, or a new one, in the saved state; None where there was no optimiser to save."""
    if saved is None:
        return None
    optimizer = optimizer or make_optimizer(recipe, model)
    restore_state(optimizer, saved)
    return optimizer


def complete_gradients(optimizer: torch.optim.Optimizer) -> None:
    """Gives parameters that no pass has reached a gradient of zero, as if all were part of every pass."""
    for group in optimizer.param_groups:
        for parameter in group["params"]:
            if parameter.grad is None:
                parameter.grad = torch.zeros_like(parameter)


def clean(optimizer: torch.optim.Optimizer, masks: Mapping[nn.Parameter, Tensor]) -> None:
    """Zeroes the optimiser's state of pruned weights."""
    for weight, mask in masks.items():
        for value in optimizer.state.get(weight, {}).values():
            if isinstance(value, Tensor) and value.shape == mask.shape:
                value.mul_(mask)


def check_trainable(optimizer: torch.optim.Optimizer | None, model: nn.Module) -> None:
    """Raises SessionError if what is trainable has changed since the optimiser was made."""
    if optimizer is None:
        return
    owned = {id(parameter) for group in optimizer.param_groups for parameter in group["params"]}
    if owned != {id(parameter) for parameter in model.parameters() if parameter.requires_grad}:
        raise SessionError("what is trainable has changed since the first update; freeze or add weights before it")
