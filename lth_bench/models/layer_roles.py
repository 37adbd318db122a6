"""Which weights of a network are prunable, and which layers are the first, the last and the depthwise ones."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from typing import Any, Literal, cast

from torch import nn

PRUNABLE = (nn.Linear, nn.Conv1d, nn.Conv2d, nn.Conv3d)


def prunable(model: nn.Module) -> dict[str, nn.Parameter]:
    """The convolution and linear weights by name, in module order; never biases or norm layers.

    The fused projection of queries, keys and values in `nn.MultiheadAttention` is one of them.
    """
    weights: dict[str, nn.Parameter] = {}
    for name, module in model.named_modules():
        if isinstance(module, PRUNABLE):
            weights[f"{name}.weight".removeprefix(".")] = cast(nn.Parameter, module.weight)
        elif isinstance(module, nn.MultiheadAttention) and module.in_proj_weight is not None:
            weights[f"{name}.in_proj_weight".removeprefix(".")] = module.in_proj_weight
    return weights


def output_layer(model: nn.Module) -> str:
    """The name of the output layer's weight: of the classifier that timm names, else the last prunable weight."""
    weights = prunable(model)
    classifier = cast(Any, model).get_classifier() if hasattr(model, "get_classifier") else None
    named = [name for name, weight in weights.items() if weight is getattr(classifier, "weight", None)]
    return named[0] if named else list(weights)[-1]


def first_weights(model: nn.Module) -> list[str]:
    """Names of the weights that multiply the image: of the layers that timm names, else the first prunable weight."""
    weights = list(prunable(model))
    return _named(model, "first_conv", weights) or weights[:1]


def output_weights(model: nn.Module) -> list[str]:
    """Names of the weights of all output layers; distilled networks and those with auxiliary outputs have several."""
    weights = list(prunable(model))
    return _named(model, "classifier", weights) or _classifier(model, weights) or [output_layer(model)]


def depthwise_weights(model: nn.Module) -> list[str]:
    """Names of the weights of convolutions in which every channel is a group of its own."""
    convolutions = (nn.Conv1d, nn.Conv2d, nn.Conv3d)
    return [
        f"{name}.weight".removeprefix(".")
        for name, layer in model.named_modules()
        if isinstance(layer, convolutions) and layer.groups == layer.in_channels > 1
    ]


KEPT = {"first": first_weights, "output": output_weights, "depthwise": depthwise_weights}


def kept_dense(model: nn.Module, keep: Collection[Literal["first", "output", "depthwise"]]) -> set[str]:
    """Names, as in `prunable`, of the weights that these words keep dense."""
    return {name for word in keep for name in KEPT[word](model)}


def _named(model: nn.Module, field: str, weights: list[str]) -> list[str]:
    """The weights of the layers in a field of timm's configuration; none unless the network has all of them."""
    entry = (getattr(model, "pretrained_cfg", None) or {}).get(field) or ()
    names = [f"{name}.weight" for name in ([entry] if isinstance(entry, str) else entry)]
    return names if set(names) <= set(weights) else []


def _classifier(model: nn.Module, weights: list[str]) -> list[str]:
    if not hasattr(model, "get_classifier"):
        return []
    own = {id(weight) for layer in _modules(cast(Any, model).get_classifier()) for weight in layer.parameters()}
    parameters = dict(model.named_parameters())
    return [name for name in weights if id(parameters[name]) in own]


def _modules(classifier: Any) -> Iterator[nn.Module]:
    """The modules of a classifier, which timm returns as one or in nested lists."""
    if isinstance(classifier, nn.Module):
        yield classifier
    elif isinstance(classifier, tuple | list):
        for part in classifier:
            yield from _modules(part)
