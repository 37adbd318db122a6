"""Finds plugins through the entry points of the group `lth_bench` and keeps what they register."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from importlib.metadata import EntryPoint, entry_points
from typing import Any

import pluggy

from lth_bench import hookspecs

GROUP = "lth_bench"
KINDS = ("pruners", "controls", "models", "datasets", "suites")
NAME = re.compile(r"[a-z0-9][a-z0-9._-]{0,63}")


class UnknownName(LookupError):
    """A name that no plugin has registered."""


@dataclass(frozen=True)
class Source:
    """Where something was registered: the entry point, its module, its distribution and version."""

    plugin: str
    module: str
    distribution: str
    version: str


@dataclass(frozen=True)
class Broken:
    """A plugin that could not be loaded, and why."""

    source: Source
    reason: str


@dataclass
class Registry:
    """What plugins have registered of one kind, by name."""

    kind: str
    items: dict[str, Any] = field(default_factory=dict)
    sources: dict[str, Source] = field(default_factory=dict)

    def add(self, name: str, item: Any, source: Source) -> None:
        if not NAME.fullmatch(name):
            raise ValueError(f"the name {name!r} does not match {NAME.pattern}")
        if name in self.items:
            owner = self.sources[name]
            raise ValueError(f"{self.kind[:-1]} {name!r} is already registered by {owner.distribution}")
        self.items[name], self.sources[name] = item, source

    def __getitem__(self, name: str) -> Any:
        if name not in self.items:
            known = ", ".join(sorted(self.items)) or "none"
            raise UnknownName(f"no {self.kind[:-1]} {name!r}; known: {known}")
        return self.items[name]

    def __iter__(self) -> Iterator[str]:
        return iter(sorted(self.items))


@dataclass(frozen=True)
class Plugins:
    """All that is registered, and the plugins that could not be loaded."""

    pruners: Registry = field(default_factory=lambda: Registry("pruners"))
    controls: Registry = field(default_factory=lambda: Registry("controls"))
    models: Registry = field(default_factory=lambda: Registry("models"))
    datasets: Registry = field(default_factory=lambda: Registry("datasets"))
    suites: Registry = field(default_factory=lambda: Registry("suites"))
    broken: list[Broken] = field(default_factory=list)


def load_plugins() -> Plugins:
    """Imports every plugin that is installed; one that fails hides no other."""
    manager = pluggy.PluginManager(GROUP)
    manager.add_hookspecs(hookspecs)
    plugins = Plugins()
    points = sorted(entry_points(group=GROUP), key=lambda point: (_source(point).distribution != "lth-bench", point))
    for point in points:
        source = _source(point)
        try:
            _load(manager, point, plugins)
        except (Exception, SystemExit) as error:
            plugins.broken.append(Broken(source, f"{type(error).__name__}: {error}"))
    return plugins


def _load(manager: pluggy.PluginManager, point: EntryPoint, plugins: Plugins) -> None:
    module = point.load()
    manager.register(module, name=point.name)
    manager.check_pending()
    for kind in KINDS:
        registry: Registry = getattr(plugins, kind)
        others = [plugin for plugin in manager.get_plugins() if plugin is not module]
        hook = manager.subset_hook_caller(f"register_{kind}", remove_plugins=others)
        hook(register=lambda name, item, registry=registry: registry.add(name, item, _source(point)))


def _source(point: EntryPoint) -> Source:
    distribution = point.dist
    name, version = (distribution.name, distribution.version) if distribution else ("unknown", "unknown")
    return Source(point.name, point.module, name, version)
