"""Networks made by timm."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping, Sequence
from difflib import get_close_matches
from typing import Any, cast

import timm
from timm.models import register_model
from torch import nn

from lth_bench.errors import ModelError


def register_models(models: Mapping[str, Any]) -> None:
    """Registers model functions with timm under their names; raises ModelError for a name that timm has already."""
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
    """`timm.create_model` for images of this shape, C×H×W, which a model for one size of images gets as `img_size`.

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
    """Whether timm says that a model takes images of one size only, as many transformers do."""
    configuration = timm.get_pretrained_cfg(name, allow_unregistered=True)
    return bool(configuration and configuration.fixed_input_size)
