"""Plugins, discovered through entry points of the group `lth_bench`, and what they register."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cache, partial
from importlib.metadata import Distribution, EntryPoint, entry_points
from typing import Any

import pluggy

from lth_bench.errors import UnknownName
from lth_bench.experiments import hookspecs
from lth_bench.experiments.about import about
from lth_bench.experiments.datasets import Dataset
from lth_bench.experiments.recipe import Recipe
from lth_bench.experiments.spelling import known_names

GROUP = "lth_bench"
KINDS = {
    "pruners": "pruner",
    "controls": "control",
    "models": "model",
    "datasets": "dataset",
    "recipes": "recipe",
    "suites": "suite",
    "observers": "observer",
    "analyses": "analysis",
    "engines": "engine",
}
"""What plugins register, and the word for one of each."""
CALLED = ("pruners", "controls", "observers", "analyses", "engines")
NAME = re.compile(r"[a-z0-9][a-z0-9._-]{0,63}")


@dataclass(frozen=True)
class Provider:
    """The plugin that registered something: its entry point and module, its distribution and version."""

    plugin: str
    module: str
    distribution: str
    version: str


@dataclass(frozen=True)
class Broken:
    """A plugin that could not be loaded, and why."""

    provider: Provider
    reason: str


@dataclass
class Registry:
    """What plugins have registered of one kind, by name, and which plugin did."""

    kind: str
    items: dict[str, Any] = field(default_factory=dict)
    providers: dict[str, Provider] = field(default_factory=dict)

    @property
    def one(self) -> str:
        """The word for one of this kind."""
        return KINDS[self.kind]

    def add(self, name: str, item: Any, provider: Provider) -> None:
        """Registers an item. Raises ValueError for a bad or taken name and for an item of another kind."""
        if not NAME.fullmatch(name):
            raise ValueError(f"the name {name!r} does not match {NAME.pattern}")
        if (expected := _expected_instead(self.kind, item)) is not None:
            raise ValueError(f"{self.one} {name!r} must be {expected}, not {item!r}")
        about(item)
        if type(revision := revision_of(item)) is not int or revision < 1:
            raise ValueError(f"the revision of {self.one} {name!r} must be a whole number from 1, not {revision!r}")
        if name in self.items:
            owner = self.providers[name]
            raise ValueError(f"{self.one} {name!r} is already registered by {owner.distribution}")
        self.items[name], self.providers[name] = item, provider

    def __getitem__(self, name: str) -> Any:
        """The item of this name. Raises UnknownName, with close names."""
        if name not in self.items:
            raise UnknownName(f"no {self.one} {name!r}; {known_names(name, self)}")
        return self.items[name]

    def __iter__(self) -> Iterator[str]:
        return iter(sorted(self.items))


def revision_of(item: Any) -> int:
    """The revision that a class, function or data set states with its attribute `revision`; else 1."""
    return getattr(item, "revision", 1)


def _expected_instead(kind: str, item: Any) -> str | None:
    """What an item of this kind has to be; None if it is."""
    is_class = isinstance(item, type) and dataclasses.is_dataclass(item)
    if kind in CALLED:
        return None if is_class else "a dataclass"
    if kind == "datasets":
        return None if is_class or isinstance(item, Dataset) else "a Dataset or a dataclass that makes one"
    if kind == "models":
        return None if callable(item) else "a function that makes a model"
    if kind == "recipes":
        return None if isinstance(item, Recipe) else "a Recipe"
    return None


@dataclass(frozen=True)
class Plugins:
    """All that is registered, and the plugins that could not be loaded."""

    pruners: Registry = field(default_factory=lambda: Registry("pruners"))
    controls: Registry = field(default_factory=lambda: Registry("controls"))
    models: Registry = field(default_factory=lambda: Registry("models"))
    datasets: Registry = field(default_factory=lambda: Registry("datasets"))
    recipes: Registry = field(default_factory=lambda: Registry("recipes"))
    suites: Registry = field(default_factory=lambda: Registry("suites"))
    observers: Registry = field(default_factory=lambda: Registry("observers"))
    analyses: Registry = field(default_factory=lambda: Registry("analyses"))
    engines: Registry = field(default_factory=lambda: Registry("engines"))
    broken: list[Broken] = field(default_factory=list)
    files: dict[str, bytes] = field(default_factory=dict)
    """The plugins that are single files, not installed: their sources by file name."""

    def of_one(self, kind: str) -> Registry:
        """The registry of a kind, given by the word for one."""
        registries: list[Registry] = [getattr(self, name) for name in KINDS]
        return next(registry for registry in registries if registry.one == kind)

    def call_hooks(self, module: Any, provider: Provider) -> None:
        """Registers what the hooks of a plugin name; nothing of it if one of them fails, which raises any exception."""
        manager = pluggy.PluginManager(GROUP)  # one for each plugin, so that its faults reach no other
        manager.add_hookspecs(hookspecs)
        manager.register(module, name=provider.plugin)
        manager.check_pending()
        try:
            for kind in KINDS:
                register = partial(getattr(self, kind).add, provider=provider)
                getattr(manager.hook, f"register_{kind}")(register=register)
        except BaseException:
            self._forget(provider)
            raise

    def names_of(self, provider: Provider) -> dict[str, list[str]]:
        """The names that a plugin has registered, by kind; kinds without any are left out."""
        registries: dict[str, Registry] = {kind: getattr(self, kind) for kind in KINDS}
        named = {kind: [name for name in one if one.providers[name] == provider] for kind, one in registries.items()}
        return {kind: names for kind, names in named.items() if names}

    def _forget(self, provider: Provider) -> None:
        for kind, names in self.names_of(provider).items():
            registry: Registry = getattr(self, kind)
            for name in names:
                del registry.items[name], registry.providers[name]


def load_plugins() -> Plugins:
    """Imports every installed plugin; those that fail are listed as broken, and the others work."""
    plugins = Plugins()
    points = sorted(entry_points(group=GROUP), key=lambda point: (_provider(point).distribution != "lth-bench", point))
    for point in points:
        try:
            plugins.call_hooks(point.load(), _provider(point))
        except (Exception, SystemExit) as error:
            plugins.broken.append(Broken(_provider(point), f"{type(error).__name__}: {error}"))
    return plugins


def _provider(point: EntryPoint) -> Provider:
    name, version = _name_and_version(point.dist) if point.dist else ("unknown", "unknown")
    return Provider(point.name, point.module, name, version)


@cache
def _name_and_version(distribution: Distribution) -> tuple[str, str]:
    """Of a distribution, whose metadata is parsed anew each time that a property is asked for."""
    return distribution.name, distribution.version
