"""The rules for a pruner's parameters, which identify its experiments."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterator
from typing import Any

from lth_bench.conformance.specimens import RECIPE
from lth_bench.experiments.choices import choice, instantiate
from lth_bench.experiments.experiment import Choice, Experiment
from lth_bench.experiments.plugins import Registry
from lth_bench.hashing import canonical
from lth_bench.storage.record import builtins, decoder

NONSENSE: tuple[Any, ...] = ({"no": "such value"}, [["no", "such", "value"]], "no such value", True, -0.5, None)


def identity_faults(registry: Registry, name: str, arguments: dict[str, Any]) -> Iterator[str]:
    """Reasons why these parameters cannot identify a result."""
    kind = registry[name]
    if not kind.__dataclass_params__.frozen:
        yield f"{kind.__name__} is not frozen; write @dataclass(frozen=True)"
    for f in dataclasses.fields(kind):
        if f.default_factory is not dataclasses.MISSING:
            yield f"parameter {f.name!r} has a default_factory; give it a plain default, a tuple instead of a list"
    pruner = instantiate(registry, name, arguments)
    try:
        hash(pruner)
    except TypeError as error:
        yield f"it cannot be hashed: {error}; use tuples"
    try:
        everything = json.loads(canonical(dataclasses.asdict(pruner)))
    except (TypeError, ValueError) as error:
        yield f"its parameters are not JSON: {error}"
        return
    yield from _key_faults(registry, name, arguments, everything)


def _key_faults(registry: Registry, name: str, arguments: dict[str, Any], everything: dict[str, Any]) -> Iterator[str]:
    names = {f.name for f in dataclasses.fields(registry[name]) if f.init}
    written = {key: everything[key] for key in reversed(everything) if key in names}
    try:
        given, full = (_experiment(choice(registry, name, values)) for values in (arguments, written))
    except ValueError as error:
        yield f"its own parameters, written out, are refused: {error}"
        return
    if given.key != full.key:
        yield f"an experiment has another key when defaults are written out: {full.pruner.arguments}"
    if decoder(Experiment).decode(canonical(builtins(given)).encode()).key != given.key:
        yield "an experiment that is read back from its record has another key"


def _experiment(pruner: Choice) -> Experiment:
    return Experiment(Choice("digits"), Choice("mlp"), RECIPE, pruner, 0.5, 0)


def type_faults(registry: Registry, name: str, arguments: dict[str, Any]) -> Iterator[str]:
    """Parameters that accept nonsense, or refuse it by the wrong exception."""
    for f in dataclasses.fields(registry[name]):
        if not f.init:
            continue
        tried = [_refusal(registry, name, {**arguments, f.name: value}) for value in NONSENSE]
        if all(refusal is None for refusal in tried):
            yield f"parameter {f.name!r} takes anything, {NONSENSE[0]} for one; annotate it with what it takes"
        if odd := [type(refusal).__name__ for refusal in tried if refusal and not isinstance(refusal, ValueError)]:
            yield f"parameter {f.name!r} refuses a wrong value by {odd[0]}, wanted ValueError"


def _refusal(registry: Registry, name: str, arguments: dict[str, Any]) -> Exception | None:
    try:
        instantiate(registry, name, arguments)
    except Exception as error:
        return error
    return None
