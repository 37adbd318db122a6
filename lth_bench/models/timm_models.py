"""Networks made by timm."""

from __future__ import annotations

import inspect
import warnings
from collections.abc import Callable, Mapping, Sequence
from difflib import get_close_matches
from typing import Any, cast

import timm
from timm.models import register_model
from torch import nn

from lth_bench.errors import ModelError
from lth_bench.experiments.plugins import Registry
from lth_bench.storage.source_hash import FILE


def register_models(models: Mapping[str, Any]) -> None:
    """Registers model functions with timm under their names, except those that timm has already: see `check_name`.

    Of a file that was loaded again, as in a notebook, the function takes the place of the one before.
    """
    for name, function in models.items():
        if not is_known(name) or _is_of_same_file(timm.model_entrypoint(name), function):
            function.__name__ = name
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                register_model(function)


def is_known(name: str) -> bool:
    """Whether timm has a model of this name."""
    return bool(timm.is_model(name))


def _is_of_same_file(known: Any, function: Any) -> bool:
    module = str(getattr(function, "__module__", ""))
    return known is not function and module.startswith(FILE) and getattr(known, "__module__", "") == module


def check_name(name: str, models: Registry) -> None:
    """Raises ModelError where timm, a plugin or any other package give one name to different models.

    `models` are those of plugins. Other packages may register models with timm themselves, by names that timm lacks.
    """
    if not timm.is_model(name):
        return
    function, own = timm.model_entrypoint(name), getattr(timm.models, name.partition(".")[0], None)
    is_timms = _is_of_timm(own)
    if name not in models.items:
        if is_timms and not _is_of_timm(function):
            raise ModelError(
                f"the module {function.__module__} has put a model of its own in the place of timm's {name!r}; "
                "rename it there, or uninstall the package of that module"
            )
    elif function is not models.items[name] or (is_timms and function is not own):
        owner, other = models.providers[name], "timm" if is_timms else f"the module {function.__module__}"
        raise ModelError(
            f"{owner.distribution} registers the model {name!r}, a name that {other} gives to another model; rename it "
            f"in the module {owner.module}, or uninstall {owner.distribution}"
        )


def _is_of_timm(function: Any) -> bool:
    return str(getattr(function, "__module__", "")).startswith("timm.")


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
    fit = fitted(name, arguments, shape, classes)
    try:
        return timm.create_model(name, **fit)
    except Exception as error:
        reason = f"{type(error).__name__}: {error}"
        raise ModelError(f"timm cannot make {name!r} from {dict(arguments)}: {reason}") from error


def fitted(name: str, arguments: Mapping[str, Any], shape: Sequence[int], classes: int) -> dict[str, Any]:
    """Arguments of a model with those that fit it to images of this shape, C×H×W. Raises ModelError."""
    fit: dict[str, Any] = {"in_chans": shape[0], "num_classes": classes}
    if "img_size" in inspect.signature(model_function(name)).parameters or _fixes_size(name):
        fit["img_size"] = tuple(shape[1:])
    return {**fit, **arguments}


def _fixes_size(name: str) -> bool:
    """Whether timm says that a model takes images of one size only, as many transformers do."""
    configuration = timm.get_pretrained_cfg(name, allow_unregistered=True)
    return bool(configuration and configuration.fixed_input_size)
