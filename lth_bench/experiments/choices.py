"""Registered things, made from their name and arguments, and how experiments and tables write them down."""

from __future__ import annotations

import dataclasses
import inspect
import json
import re
import tomllib
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any, TypeVar

from pydantic import TypeAdapter, ValidationError

from lth_bench.experiments.about import About, about
from lth_bench.experiments.adapters import Adapters, split
from lth_bench.experiments.experiment import Choice, without_defaults
from lth_bench.experiments.plugins import Plugins, Registry, revision_of
from lth_bench.experiments.spelling import known_names

Instance = TypeVar("Instance")
Place = tuple[int | str, ...]
Keys = Callable[[Place], list[str]]
_NONE: Mapping[str, Any] = MappingProxyType({})
SHOWN = len("sha256:01234567")


def instantiate(registry: Registry, name: str, arguments: dict[str, Any]) -> Any:
    """A pruner, control or data set with these parameters.

    Raises UnknownName, and ValueError with a line for every bad parameter.
    """
    kind = registry[name]
    parameters = [f.name for f in dataclasses.fields(kind) if f.init]
    unknown = [key for key in arguments if key not in parameters]
    faults = [f"{key}: no such parameter of {name!r}; {known_names(key, parameters)}" for key in unknown]
    try:
        instance = validated(kind, {key: value for key, value in arguments.items() if key in parameters})
    except ValidationError as error:
        faults += faults_of(error)
    if faults:
        raise ValueError("\n".join(faults))
    return instance


def choice(registry: Registry, name: str, arguments: dict[str, Any]) -> Choice:
    """The identity of a pruner, control or data set: its parameters that differ from their default, and its revision.

    Raises as `instantiate` does.
    """
    instance = instantiate(registry, name, arguments)
    values = {f.name: (getattr(instance, f.name), f.default) for f in dataclasses.fields(instance) if f.init}
    changed = {name: value for name, (value, default) in values.items() if value != default}
    return Choice(name, changed, revision_of(type(instance)))


def dataset_choice(plugins: Plugins, name: str, arguments: dict[str, Any]) -> Choice:
    """The identity of a data set. Raises UnknownName, and ValueError with a line for every bad argument."""
    if isinstance(plugins.datasets[name], type):
        return choice(plugins.datasets, name, arguments)
    if arguments:
        raise ValueError(f"{next(iter(arguments))}: the data set {name!r} takes no arguments")
    return Choice(name, revision=revision_of(plugins.datasets[name]))


def model_choice(plugins: Plugins, name: str, arguments: dict[str, Any], start: Mapping[str, Any] = _NONE) -> Choice:
    """The identity of a model, without the adapter options that are at their default; `start` are further options.

    Raises ValueError with a line for every bad option, but does not ask whether timm has the model.
    """
    function = plugins.models.items.get(name)
    own = inspect.signature(function).parameters if function else ()
    if taken := [key for key in start if key in own or key in arguments]:
        raise ValueError(f"{taken[0]}: {name!r} has this among its arguments; give it once, there or beside them")
    arguments = {**arguments, **start}
    options, others = split(arguments, own)
    try:
        adapters = validated(Adapters, options)
    except ValidationError as error:
        raise ValueError("\n".join(faults_of(error))) from error
    changed = without_defaults(adapters)
    if adapters.keep:
        changed["keep"] = sorted(set(adapters.keep))
    if adapters.normalisation:
        changed["normalisation"] = {name: list(values) for name, values in changed["normalisation"].items()}
    identity = others | changed
    return Choice(name, {key: identity[key] for key in arguments if key in identity}, revision_of(function))


def assigned(text: str, example: str, option: str = "--with") -> tuple[str, Any]:
    """The name and value of a text such as "rate=0.5"; a value that is not TOML is text. Raises ValueError."""
    name, sign, value = text.partition("=")
    if not (name and sign):
        raise ValueError(f"{option} wants NAME=VALUE, such as {example}, not {text!r}")
    try:
        return name, tomllib.loads(f"value = {value}")["value"]
    except tomllib.TOMLDecodeError:
        return name, value


def about_choice(registry: Registry, entry: Choice) -> About:
    """What the chosen item says of itself; nothing if the registry does not have it."""
    item = registry.items.get(entry.name)
    return about(instantiate(registry, entry.name, entry.arguments) if isinstance(item, type) else item)


def label(entry: Choice, title: str = "") -> str:
    """The title or else the name of a choice, with its parameters and a raised revision, for tables."""
    words = [f"{key}={_shortened(value)}" for key, value in sorted(entry.arguments.items())]
    name = title or entry.name
    return with_revision(f"{name} ({', '.join(words)})" if words else name, entry)


def _shortened(value: Any) -> Any:
    """A value as tables show it: of what identifies a file, the first digits; mean±std of each channel, or of all."""
    if isinstance(value, dict) and value.keys() == {"mean", "std"}:
        channels = [f"{mean}±{std}" for mean, std in zip(value["mean"], value["std"], strict=True)]
        return channels[0] if len(set(channels)) == 1 else " ".join(channels)
    return value[:SHOWN] if isinstance(value, str) and re.fullmatch("sha256:[0-9a-f]{64}", value) else value


def titled(registry: Registry, entry: Choice) -> str:
    """A choice under the title that it states, as tables name it unless a suite has a label for it."""
    return label(entry, about_choice(registry, entry).title)


def with_revision(name: str, entry: Choice) -> str:
    """A name for a choice, followed by its revision if that is not the first."""
    return name if entry.revision == 1 else f"{name}, revision {entry.revision}"


def validated(kind: type[Instance], fields: dict[str, Any]) -> Instance:
    """A dataclass from a table, without coercion except of lists to tuples and of integers to floats.

    Raises ValidationError.
    """
    return TypeAdapter(kind).validate_json(json.dumps(fields), strict=True)


def faults_of(error: ValidationError, keys: Keys | None = None) -> list[str]:
    """One sentence for each fault, with its place; `keys` gives the keys of a table at a place, to suggest some."""
    return [
        _fault(item["loc"], item["msg"], item["input"], item["type"]) + _suggested(item["loc"], item["type"], keys)
        for item in error.errors()
    ]


def _suggested(loc: Place, kind: str, keys: Keys | None) -> str:
    return f"; {known_names(str(loc[-1]), keys(loc[:-1]))}" if keys and kind == "extra_forbidden" else ""


def _fault(loc: Place, message: str, value: Any, kind: str) -> str:
    place = "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in loc).lstrip(".")
    found = "" if kind in ("missing", "extra_forbidden") or isinstance(value, dict) else f" (found: {value!r})"
    text = {"extra_forbidden": "no such key here", "missing": "this key is needed"}.get(kind, message)
    return f"{place}: {text.removeprefix('Value error, ')}{found}"
