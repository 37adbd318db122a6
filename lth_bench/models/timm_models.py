"""Networks made by timm, and which of their weights may be pruned."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from difflib import get_close_matches
from typing import Any, cast

import timm
import torch
from timm.models import register_model
from torch import Tensor, nn

from lth_bench.errors import ModelError

PRUNABLE = (nn.Linear, nn.Conv1d, nn.Conv2d, nn.Conv3d)


def register_models(models: Mapping[str, Any]) -> None:
    """Makes model functions known to timm under their names."""
    for name, function in models.items():
        if not timm.is_model(name):
            function.__name__ = name
            register_model(function)
        elif timm.model_entrypoint(name) is not function:
            raise ModelError(f"a plugin registers the model {name!r}, but timm has one of that name; rename it")


def model_function(name: str) -> Callable[..., nn.Module]:
    """The function that timm calls for a name; raises ModelError."""
    if not timm.is_model(name):
        alike = timm.list_models(f"*{name}*")[:8] or get_close_matches(name, timm.list_models())
        close = ", ".join(alike) or "see timm.list_models()"
        raise ModelError(f"timm knows no model {name!r}; close: {close}")
    return cast(Callable[..., nn.Module], timm.model_entrypoint(name))


def make_model(name: str, arguments: Mapping[str, Any], shape: Sequence[int], classes: int) -> nn.Module:
    """`timm.create_model` for images of this shape, C×H×W; a model that is made for one size is told theirs.

    Raises ModelError.
    """
    function = model_function(name)
    fitted: dict[str, Any] = {"in_chans": shape[0], "num_classes": classes}
    if "img_size" in inspect.signature(function).parameters or _fixes_size(name):
        fitted["img_size"] = tuple(shape[1:])
    try:
        return timm.create_model(name, **{**fitted, **arguments})
    except Exception as error:
        reason = f"{type(error).__name__}: {error}"
        raise ModelError(f"timm cannot make {name!r} from {dict(arguments)}: {reason}") from error


def _fixes_size(name: str) -> bool:
    """Whether timm says that a model takes images of one size alone, as transformers do."""
    known = timm.get_pretrained_cfg(name, allow_unregistered=True)
    return bool(known and known.fixed_input_size)


def prunable(model: nn.Module) -> dict[str, nn.Parameter]:
    """The convolution and linear weights by name, in module order; never biases or norm layers.

    The fused projection of queries, keys and values in `nn.MultiheadAttention` is one of them.
    """
    found: dict[str, nn.Parameter] = {}
    for name, module in model.named_modules():
        if isinstance(module, PRUNABLE):
            found[f"{name}.weight"] = cast(nn.Parameter, module.weight)
        elif isinstance(module, nn.MultiheadAttention) and module.in_proj_weight is not None:
            found[f"{name}.in_proj_weight"] = module.in_proj_weight
    return found


@torch.no_grad()
def transformed(model: nn.Module, inputs: Tensor) -> list[str]:
    """Prunable layers that change their weight in `forward`, as weight standardisation does: a mask would not hold.

    What such a layer makes of some input is not linear in its weight. Leaves the network changed.
    """
    seen: dict[nn.Module, Any] = {}

    def note(layer: nn.Module, inputs: Any, output: Any) -> None:
        seen.setdefault(layer, inputs)

    names: dict[nn.Module, str] = {
        module: f"{name}.weight" for name, module in model.named_modules() if isinstance(module, PRUNABLE)
    }
    for module in names:
        module.register_forward_hook(note)
    model.eval()(inputs)
    return [names[layer] for layer, inputs in list(seen.items()) if not _is_linear(layer, inputs)]


def _is_linear(layer: nn.Module, inputs: Any) -> bool:
    """Whether two halves of the weight add up to what the whole does."""
    weight = cast(nn.Parameter, layer.weight)
    for parameter in layer.parameters():
        if parameter is not weight:
            parameter.fill_(1)  # a gain of zero would hide everything
    whole = weight.clone()
    half, rest = (weight.clone(memory_format=torch.contiguous_format) for _ in range(2))
    half.view(-1)[::2] = 0
    rest.view(-1)[1::2] = 0

    def output(value: Tensor) -> Tensor:
        weight.copy_(value)
        return cast(Tensor, layer(*inputs)).double()

    one, other, nothing, both = (output(value) for value in (half, rest, torch.zeros_like(whole), whole))
    return bool(torch.allclose(one + other - nothing, both, rtol=1e-3, atol=1e-3 * float(both.abs().max())))


def output_layer(model: nn.Module) -> str:
    """The name of the last layer's weight: the classifier that timm names, else the last prunable weight."""
    weights = prunable(model)
    classifier = cast(Any, model).get_classifier() if hasattr(model, "get_classifier") else None
    named = [name for name, weight in weights.items() if weight is getattr(classifier, "weight", None)]
    return named[0] if named else list(weights)[-1]


@contextmanager
def mode(model: nn.Module, *, training: bool) -> Iterator[None]:
    """Puts every module into one mode, and back into its own afterwards."""
    flags = [(module, module.training) for module in model.modules()]
    model.train(training)
    try:
        yield
    finally:
        model.train()  # drops what some attention layers keep of an evaluation
        for module, flag in flags:
            module.training = flag


def nothing() -> None:
    pass
