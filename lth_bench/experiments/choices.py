"""From a name and arguments to what is registered under it."""

from __future__ import annotations

import dataclasses
import inspect
import json
import tomllib
from typing import Any, TypeVar

from pydantic import TypeAdapter, ValidationError

from lth_bench.experiments.adapters import Adapters, split
from lth_bench.experiments.experiment import Choice, without_defaults
from lth_bench.experiments.plugins import Plugins, Registry

Made = TypeVar("Made")


def instantiate(registry: Registry, name: str, arguments: dict[str, Any]) -> Any:
    """A pruner or control with these parameters. Raises UnknownName, and ValueError naming every bad parameter."""
    kind = registry[name]
    known = {f.name: f for f in dataclasses.fields(kind) if f.init}
    known_names = ", ".join(known) or "none"
    faults = [f"{key}: no such parameter of {name!r}; known: {known_names}" for key in arguments if key not in known]
    try:
        made = validated(kind, {key: value for key, value in arguments.items() if key in known})
    except ValidationError as error:
        faults += faults_of(error)
    if faults:
        raise ValueError("\n".join(faults))
    return made


def choice(registry: Registry, name: str, arguments: dict[str, Any]) -> Choice:
    """The identity of a pruner or control: the parameters that differ from their default, and its revision."""
    made = instantiate(registry, name, arguments)
    changed = {
        f.name: getattr(made, f.name) for f in dataclasses.fields(made) if f.init and getattr(made, f.name) != f.default
    }
    return Choice(name, changed, getattr(type(made), "revision", 1))


def dataset_choice(plugins: Plugins, name: str, arguments: dict[str, Any]) -> Choice:
    """The identity of a data set. Raises UnknownName, and ValueError naming every bad argument."""
    if isinstance(plugins.datasets[name], type):
        return choice(plugins.datasets, name, arguments)
    if arguments:
        raise ValueError(f"{next(iter(arguments))}: the data set {name!r} takes no arguments")
    return Choice(name)


def model_choice(plugins: Plugins, name: str, arguments: dict[str, Any]) -> Choice:
    """The identity of a model, without the adapter options that are at their default.

    Raises ValueError naming every bad option; whether timm has the model is not known here.
    """
    function = plugins.models.items.get(name)
    ours, others = split(arguments, inspect.signature(function).parameters if function else ())
    try:
        made = validated(Adapters, ours)
    except ValidationError as error:
        raise ValueError("\n".join(faults_of(error))) from error
    changed = without_defaults(made)
    if made.keep:
        changed["keep"] = sorted(set(made.keep))
    meant = {**others, **changed}
    return Choice(name, {key: meant[key] for key in arguments if key in meant})


def assigned(text: str, example: str) -> tuple[str, Any]:
    """NAME=VALUE behind an option --with; what is no value in TOML is a text. Raises ValueError."""
    name, sign, value = text.partition("=")
    if not (name and sign):
        raise ValueError(f"--with wants NAME=VALUE, such as {example}, not {text!r}")
    try:
        return name, tomllib.loads(f"value = {value}")["value"]
    except tomllib.TOMLDecodeError:
        return name, value


def label(entry: Choice) -> str:
    """A method's name with its parameters, for tables."""
    if not entry.arguments:
        return entry.name
    return f"{entry.name} ({', '.join(f'{key}={value}' for key, value in entry.arguments.items())})"


def validated(kind: type[Made], fields: dict[str, Any]) -> Made:
    """A dataclass from a table, strictly: no coercion, but for lists that become tuples and integers floats."""
    return TypeAdapter(kind).validate_json(json.dumps(fields), strict=True)


def faults_of(error: ValidationError) -> list[str]:
    return [_fault(item["loc"], item["msg"], item["input"], item["type"]) for item in error.errors()]


def _fault(loc: tuple[int | str, ...], message: str, value: Any, kind: str) -> str:
    place = "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in loc).lstrip(".")
    found = "" if kind in ("missing", "extra_forbidden") or isinstance(value, dict) else f" (found: {value!r})"
    text = {"extra_forbidden": "no such key here", "missing": "this key is needed"}.get(kind, message)
    return f"{place}: {text.removeprefix('Value error, ')}{found}"
