"""Makes `timm.create_model` find the models of plugins from `import lth_bench` on, which imports nothing for it."""

from __future__ import annotations

import functools
import importlib.util
import sys
from collections.abc import Callable, Sequence
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec
from types import ModuleType
from typing import Any

PLACES = ("timm", "timm.models", "timm.models._factory")
"""The modules that hold `create_model`."""


def extend_timm() -> None:
    """From now on, or from when timm is imported, its `create_model` registers plugins' models for an unknown name."""
    if "timm" in sys.modules:
        _extend()
    else:
        sys.meta_path.insert(0, _TimmFinder())


class _TimmFinder(MetaPathFinder):
    """Finds timm as others do, and has it extended once it is imported."""

    def __init__(self) -> None:
        self._looking = False

    def find_spec(
        self, fullname: str, path: Sequence[str] | None = None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        if fullname != "timm" or self._looking:
            return None
        self._looking = True
        try:
            spec = importlib.util.find_spec("timm")
        finally:
            self._looking = False
        if spec and spec.loader:
            _extend_after(spec.loader)
        return spec


def _extend_after(loader: Loader) -> None:
    load = loader.exec_module

    def exec_module(module: ModuleType) -> None:
        load(module)
        _extend()

    loader.exec_module = exec_module  # type: ignore[method-assign]


def _extend() -> None:
    timms = getattr(sys.modules["timm"], "create_model", None)
    if timms is None or hasattr(timms, "knows_plugins"):
        return
    extended = _extended(timms)
    for module in map(sys.modules.get, PLACES):
        if getattr(module, "create_model", None) is timms:
            module.create_model = extended  # type: ignore[union-attr]


def _extended(create: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(create)
    def create_model(model_name: str, *arguments: Any, **options: Any) -> Any:
        from lth_bench.experiments.plugins import load_plugins
        from lth_bench.models.timm_models import is_known, register_models

        if not is_known(model_name):
            register_models(load_plugins().models.items)
        return create(model_name, *arguments, **options)

    create_model.knows_plugins = True  # type: ignore[attr-defined]
    return create_model
