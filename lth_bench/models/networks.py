"""An experiment's network: made by timm, fitted by adapters, with the recipe's initial weights."""

from __future__ import annotations

import inspect
from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

import torch
from torch import nn

from lth_bench.errors import ModelError
from lth_bench.experiments.adapters import Adapters, split
from lth_bench.experiments.choices import validated
from lth_bench.experiments.experiment import Choice
from lth_bench.experiments.recipe import Recipe
from lth_bench.models.cifar_stem import cifar_stem
from lth_bench.models.initialisation import initialise
from lth_bench.models.layer_roles import kept_dense, prunable
from lth_bench.models.patch_embedding import small_patches
from lth_bench.models.timm_models import fitted, make_model, model_function
from lth_bench.models.zero_init import mend
from lth_bench.randomness import seeded


def make_network(model: Choice, recipe: Recipe, shape: Sequence[int], classes: int, seed: int) -> nn.Module:
    """A network for images of `shape`, C×H×W, its initial weights drawn from this seed. Raises ModelError."""
    with seeded(seed):
        network = architecture(model, shape, classes)
        mend(network, adapters_of(model))
        initialise(network, recipe)
    return network.to(memory_format=torch.channels_last) if recipe.channels_last else network


def architecture(model: Choice, shape: Sequence[int], classes: int) -> nn.Module:
    """A network for images of `shape`, C×H×W, with the weights that timm gives it. Raises ModelError."""
    adapters, arguments = _adapters(model)
    channels, height, width = shape

    def made(arguments: Mapping[str, Any], scale: int) -> nn.Module:
        return make_model(model.name, arguments, (channels, height * scale, width * scale), classes)

    try:
        if adapters.stem == "cifar":
            return cifar_stem(partial(made, arguments), (channels, height, width))
        if "patch_size" in arguments and _fixes_patches(model.name, arguments):
            others = {name: value for name, value in arguments.items() if name != "patch_size"}
            return small_patches(partial(made, others), (channels, height, width), arguments["patch_size"])
        return made(arguments, 1)
    except ModelError as error:
        raise ModelError(f"{model.name!r}: {error}") from error


def timm_arguments(model: Choice, shape: Sequence[int], classes: int) -> dict[str, Any] | None:
    """The arguments with which `timm.create_model` alone makes the architecture; None if an adapter changes it.

    Raises ModelError.
    """
    adapters, arguments = _adapters(model)
    if adapters.stem == "cifar" or ("patch_size" in arguments and _fixes_patches(model.name, arguments)):
        return None
    return fitted(model.name, arguments, shape, classes)


def _fixes_patches(name: str, arguments: Mapping[str, Any]) -> bool:
    """Whether timm's function sets the size of patches itself and refuses another."""
    try:
        with torch.device("meta"):
            model_function(name)(**arguments)
    except TypeError as error:
        return "multiple values for keyword argument 'patch_size'" in str(error)
    except Exception:  # any other fault is reported when the network is made
        return False
    return False


def prunable_weights(model: Choice, network: nn.Module) -> dict[str, nn.Parameter]:
    """The prunable weights of a new network: without frozen ones and those that the model's `keep` holds dense.

    Raises ModelError.
    """
    dense = kept_dense(network, adapters_of(model).keep)
    return {name: weight for name, weight in prunable(network).items() if name not in dense and weight.requires_grad}


def adapters_of(model: Choice) -> Adapters:
    """A model's adapter options. Raises ModelError."""
    return _adapters(model)[0]


def arguments_of(model: Choice) -> dict[str, Any]:
    """The arguments of timm's function for a model, without adapter options. Raises ModelError."""
    return _adapters(model)[1]


def _adapters(model: Choice) -> tuple[Adapters, dict[str, Any]]:
    """A model's adapter options, and the arguments of timm's function."""
    options, others = split(model.arguments, inspect.signature(model_function(model.name)).parameters)
    return validated(Adapters, options), others
