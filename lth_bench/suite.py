"""Suite files: TOML, validated strictly, resolved into experiments."""

from __future__ import annotations

import dataclasses
import inspect
import json
import tomllib
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import partial, reduce
from itertools import groupby, product
from pathlib import Path
from typing import Annotated, Any, TypeVar, cast

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    JsonValue,
    TypeAdapter,
    ValidationError,
)

from lth_bench.adapters import Adapters, split
from lth_bench.experiment import Choice, Experiment, Origin, without_defaults
from lth_bench.plugins import Plugins, Registry, UnknownName
from lth_bench.recipe import Recipe

Seed = Annotated[int, Field(ge=0, lt=2**31)]
Sparsity = Annotated[float, Field(ge=0, lt=1)]

Made = TypeVar("Made")


class SuiteError(Exception):
    """A suite that cannot be run; `faults` names every fault with its place."""

    def __init__(self, faults: list[str]) -> None:
        super().__init__("\n".join(faults))
        self.faults = faults


class Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)


def _finite(arguments: dict[str, Any]) -> dict[str, Any]:
    json.dumps(arguments, allow_nan=False)
    return arguments


class Named(Strict):
    """A name with arguments; a bare string is a name without."""

    name: str
    arguments: Annotated[dict[str, JsonValue], AfterValidator(_finite)] = {}


def _named(value: Any) -> Any:
    return {"name": value} if isinstance(value, str) else value


def _located(value: Any) -> Any:
    """`{ parquet = "photos" }` is short for the data set `parquet` with the argument `path = "photos"`."""
    if isinstance(value, dict) and len(value) == 1 and "name" not in value:
        name, path = next(iter(value.items()))
        return {"name": name, "arguments": {"path": path}}
    return _named(value)


Entry = Annotated[Named, BeforeValidator(_named)]
Located = Annotated[Named, BeforeValidator(_located)]


class ControlEntry(Named):
    """A control of the suite, and where the tickets were found that it reads, if elsewhere."""

    found_on: Located | None = None
    found_with: str | None = None


Control = Annotated[ControlEntry, BeforeValidator(_named)]


class PrunerEntry(Named):
    """A pruner of the suite; what it leaves out comes from the suite."""

    label: str | None = Field(default=None, min_length=1, max_length=80)
    recipe: str | None = None
    models: list[str] | None = Field(default=None, min_length=1)
    sparsities: list[Sparsity] | None = Field(default=None, min_length=1)
    controls: list[Control] | None = None


class Suite(Strict):
    """Models × data sets × recipe × pruners × sparsities × seeds × controls."""

    title: str
    description: str = ""
    models: list[Entry] = Field(min_length=1)
    datasets: list[Located] = Field(min_length=1)
    recipe: str
    recipes: dict[str, Annotated[dict[str, JsonValue], AfterValidator(_finite)]] = {}
    pruners: list[Annotated[PrunerEntry, BeforeValidator(_named)]] = Field(min_length=1)
    sparsities: list[Sparsity] = Field(min_length=1)
    seeds: list[Seed] = Field(min_length=1)
    controls: list[Control] = []


@dataclass(frozen=True)
class Planned:
    """An experiment and how tables name its method and its recipe."""

    experiment: Experiment
    label: str
    recipe: str
    own_recipe: bool


def suite_path(name: str, plugins: Plugins) -> Path:
    """Where a suite file lies, given by path or by the name of a registered suite. Raises SuiteError."""
    if Path(name).suffix == ".toml":
        return Path(name)
    try:
        return Path(plugins.suites[name])
    except UnknownName as error:
        raise SuiteError([f"{error}; or give the path of a .toml file"]) from error


def read_suite(name: str, plugins: Plugins) -> tuple[str, Suite]:
    """The name and content of a suite file, given by path or by the name of a registered suite.

    Raises SuiteError.
    """
    path = suite_path(name, plugins)
    content: dict[str, Any] = {}
    try:
        content = tomllib.loads(path.read_text(encoding="utf-8"))
        return path.stem, Suite.model_validate(content)
    except (OSError, UnicodeDecodeError) as error:
        raise SuiteError([f"cannot read the suite file {path}: {error}"]) from error
    except tomllib.TOMLDecodeError as error:
        raise SuiteError([f"{path}: not valid TOML: {error}"]) from error
    except ValidationError as error:
        faults = [*_faults(error), *_faults_of_the_rest(content, error, plugins)]
        raise SuiteError([f"{path}: {fault}" for fault in faults]) from error


def _faults_of_the_rest(content: dict[str, Any], error: ValidationError, plugins: Plugins) -> list[str]:
    """What else is wrong with a suite, once the keys that it should not have are taken away."""
    for item in error.errors():
        *path, key = item["loc"]
        if item["type"] == "extra_forbidden":
            table: Any = reduce(lambda within, part: within[part], path, cast(Any, content))
            del table[key]
    try:
        plan(Suite.model_validate(content), plugins)
    except SuiteError as more:
        return more.faults
    except ValidationError:
        pass  # what stands there is listed already
    return []


def plan(suite: Suite, plugins: Plugins) -> list[Planned]:
    """All experiments of a suite, seeds first, a control behind its base. Raises SuiteError with every fault.

    In each seed, tickets that are trained elsewhere than where they were found come last, each behind what finds it.
    """
    resolver = _Resolver(suite, plugins)
    wanted = list(resolver.wanted())
    keys = Counter(item.planned.experiment.key for item in wanted)
    if doubled := [item.planned for item in wanted if keys[item.planned.experiment.key] > 1]:
        resolver.faults.append(f"the same experiment is asked for twice: {_title(doubled[0])}")
    if resolver.faults:
        raise SuiteError(list(dict.fromkeys(resolver.faults)))
    return list(_with_sources(wanted, set(keys)))


@dataclass(frozen=True)
class _Wanted:
    """An experiment of the suite and, if its ticket is from elsewhere, the one that finds it there."""

    planned: Planned
    source: Planned | None = None


def _with_sources(wanted: list[_Wanted], keys: set[str]) -> Iterator[Planned]:
    """What the suite asks for, and before its controls what finds their tickets, if it does not ask for that."""
    for _, items in groupby(wanted, key=lambda item: item.planned.experiment.seed):
        for item in sorted(items, key=lambda item: item.source is not None):
            if item.source and item.source.experiment.key not in keys:
                keys.add(item.source.experiment.key)
                yield item.source
            yield item.planned


def instantiate(registry: Registry, name: str, arguments: dict[str, Any]) -> Any:
    """A pruner or control with these parameters. Raises UnknownName, and ValueError naming every bad parameter."""
    kind = registry[name]
    known = {f.name: f for f in dataclasses.fields(kind) if f.init}
    known_names = ", ".join(known) or "none"
    faults = [f"{key}: no such parameter of {name!r}; known: {known_names}" for key in arguments if key not in known]
    try:
        made = _validated(kind, {key: value for key, value in arguments.items() if key in known})
    except ValidationError as error:
        faults += _faults(error)
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
        made = _validated(Adapters, ours)
    except ValidationError as error:
        raise ValueError("\n".join(_faults(error))) from error
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


@dataclass(frozen=True)
class _Row:
    """What an experiment is but for its data set, model and seed."""

    label: str
    pruner_label: str
    recipe_name: str
    recipe: Recipe
    pruner: Choice
    sparsity: float
    models: frozenset[str]
    control: _Control | None = None

    def experiment(self, dataset: Choice, model: Choice, seed: int) -> Experiment:
        """The row's experiment without its control."""
        return Experiment(dataset, model, self.recipe, self.pruner, self.sparsity, seed)


@dataclass(frozen=True)
class _Control:
    """A control, and where the tickets that it reads were found, if the suite says so; `place` is its place there."""

    choice: Choice
    place: str
    dataset: Choice | None = None
    recipe_name: str | None = None
    recipe: Recipe | None = None

    @property
    def found(self) -> str:
        """Where the tickets were found, in words; empty if the suite does not say."""
        places = [f"on {label(self.dataset)}"] if self.dataset else []
        places += [f"with {self.recipe_name}"] if self.recipe_name else []
        return f"found {' '.join(places)}" if places else ""

    def origin(self, dataset: Choice, recipe: Recipe) -> Origin:
        """Where a ticket that is trained there was found, in so far as that is elsewhere."""
        found = None if self.dataset == dataset else self.dataset
        return Origin(found, None if self.recipe == recipe else self.recipe)


class _Resolver:
    """Resolves names in a suite and collects every fault with its place."""

    def __init__(self, suite: Suite, plugins: Plugins) -> None:
        self.suite, self.plugins, self.faults = suite, plugins, list[str]()
        self.recipes: dict[str, Recipe | None] = {}
        for name, table in suite.recipes.items():
            self.recipes[name] = self._recipe(name, table)
        self._check_unique()

    def wanted(self) -> Iterator[_Wanted]:
        suite = self.suite
        found = [self._dataset(f"datasets[{i}]", entry) for i, entry in enumerate(suite.datasets)]
        datasets = [dataset for dataset in found if dataset]
        models = [self._model(f"models[{i}]", entry) for i, entry in enumerate(suite.models)]
        rows = [row for i, entry in enumerate(suite.pruners) for row in self._rows(f"pruners[{i}]", entry)]
        self._check_origins(rows, datasets)
        for seed, dataset, model, row in product(suite.seeds, datasets, models, rows):
            if model.name not in row.models:
                continue
            experiment = row.experiment(dataset, model, seed)
            if row.control is None:
                yield _Wanted(self._planned(experiment, row))
            elif not row.control.found:
                yield _Wanted(self._planned(replace(experiment, control=row.control.choice), row))
            elif (origin := row.control.origin(dataset, row.recipe)) != Origin():
                yield self._from_elsewhere(replace(experiment, control=row.control.choice, origin=origin), row)

    def _planned(self, experiment: Experiment, row: _Row) -> Planned:
        return Planned(experiment, row.label, row.recipe_name, row.recipe_name != self.suite.recipe)

    def _from_elsewhere(self, experiment: Experiment, row: _Row) -> _Wanted:
        base = experiment.base
        assert base and row.control
        name = row.control.recipe_name or row.recipe_name
        text = f"{row.pruner_label}, for its ticket" + (f" (with {name})" if row.control.recipe_name else "")
        source = Planned(base, text, name, name != self.suite.recipe)
        return _Wanted(self._planned(experiment, row), source)

    def _check_origins(self, rows: list[_Row], datasets: list[Choice]) -> None:
        """Refuses a control whose tickets are all found where they are trained although an origin is given."""
        elsewhere: dict[str, bool] = {}
        for row, dataset in product(rows, datasets):
            if row.control and row.control.found:
                place = row.control.place
                origin = row.control.origin(dataset, row.recipe)
                elsewhere[place] = elsewhere.get(place, False) or origin != Origin()
        self.faults += [
            f"{place}: its tickets are found where they are trained; name another data set or recipe, or leave "
            f"found_on and found_with out"
            for place, some in elsewhere.items()
            if not some
        ]

    def _rows(self, place: str, entry: PrunerEntry) -> Iterator[_Row]:
        """One pruner's rows: its sparsities, each followed by its controls unless nothing is pruned at it."""
        name = entry.recipe or self.suite.recipe
        recipe = self._known_recipe(name, f"{place}.recipe" if entry.recipe else "recipe")
        pruner = self._resolved(self.plugins.pruners, entry, place)
        controls = list(self._controls(place, entry))
        models = self._models(place, entry)
        if recipe is None or pruner is None:
            return
        text = entry.label or label(pruner)
        for sparsity in map(float, entry.sparsities or self.suite.sparsities):
            plain = _Row(text, text, name, recipe, pruner, sparsity, models)
            yield plain
            for control in controls if sparsity else ():
                named = ", ".join([text, label(control.choice)]) + (f" ({control.found})" if control.found else "")
                yield replace(plain, label=named, control=control)

    def _models(self, place: str, entry: PrunerEntry) -> frozenset[str]:
        """The names of the suite's models that a pruner is used on."""
        known = list(dict.fromkeys(model.name for model in self.suite.models))
        wanted = known if entry.models is None else entry.models
        self.faults += [
            f"{place}.models: {name!r} is not a model of this suite; those are {', '.join(known)}"
            for name in wanted
            if name not in known
        ]
        return frozenset(wanted)

    def _controls(self, place: str, entry: PrunerEntry) -> Iterator[_Control]:
        entries, within = self.suite.controls, "controls"
        if entry.controls is not None:
            entries, within = entry.controls, f"{place}.controls"
            if entries and entry.sparsities and not any(entry.sparsities):
                self.faults.append(f"{within}: at sparsity 0 nothing is pruned that a control could change")
        for number, control in enumerate(entries):
            if found := self._control(f"{within}[{number}]", control):
                yield found

    def _control(self, place: str, entry: ControlEntry) -> _Control | None:
        choice = self._resolved(self.plugins.controls, entry, place)
        dataset = self._dataset(f"{place}.found_on", entry.found_on) if entry.found_on else None
        recipe = self._known_recipe(entry.found_with, f"{place}.found_with") if entry.found_with else None
        if choice is None or (entry.found_on and not dataset) or (entry.found_with and not recipe):
            return None
        if not getattr(self.plugins.controls[entry.name], "reads_ticket", True) and (dataset or recipe):
            self.faults.append(
                f"{place}: {entry.name!r} searches anew where it is trained, whatever was found elsewhere; "
                f"leave found_on and found_with out"
            )
        return _Control(choice, place, dataset, entry.found_with, recipe)

    def _check_unique(self) -> None:
        labels = [entry.label for entry in self.suite.pruners if entry.label]
        lists: dict[str, list[Any]] = {"seeds": self.suite.seeds, "sparsities": self.suite.sparsities, "label": labels}
        for place, values in lists.items():
            for value, count in Counter(values).items():
                if count > 1:
                    self.faults.append(f"{place}: {value!r} stands there {count} times")

    def _model(self, place: str, entry: Named) -> Choice:
        try:
            return model_choice(self.plugins, entry.name, entry.arguments)
        except ValueError as error:
            self.faults += [f"{place}.arguments{_below(fault)}" for fault in str(error).splitlines()]
            return Choice(entry.name)

    def _recipe(self, name: str, table: dict[str, JsonValue]) -> Recipe | None:
        """A recipe as it stands, or `like` a registered one, or one above it, but for some fields."""
        place = f"recipes.{name}"
        own = {key: value for key, value in table.items() if key != "like"}
        known = [f.name for f in dataclasses.fields(Recipe)]
        self.faults += [
            f"{place}.{key}: no such field; known: like, {', '.join(known)}" for key in own if key not in known
        ]
        start = dict[str, Any]()
        if "like" in table:
            other = self._known_recipe(str(table["like"]), f"{place}.like")
            if other is None:
                return None
            start = without_defaults(other)
        try:
            return _validated(Recipe, {**start, **{key: value for key, value in own.items() if key in known}})
        except ValidationError as error:
            self.faults += [f"{place}{_below(fault)}" for fault in _faults(error)]
        return None

    def _known_recipe(self, name: str, place: str) -> Recipe | None:
        if name in self.recipes:
            return self.recipes[name]
        try:
            return cast(Recipe, self.plugins.recipes[name])
        except UnknownName as error:
            own = f"; in this suite: {', '.join(self.recipes)}" if self.recipes else ""
            self.faults.append(f"{place}: {self._with_broken(error)}{own}")
            return None

    def _dataset(self, place: str, entry: Named) -> Choice | None:
        return self._found(partial(dataset_choice, self.plugins), entry, place)

    def _resolved(self, registry: Registry, entry: Named, place: str) -> Choice | None:
        return self._found(partial(choice, registry), entry, place)

    def _found(self, find: Callable[[str, dict[str, Any]], Choice], entry: Named, place: str) -> Choice | None:
        try:
            return find(entry.name, dict(entry.arguments))
        except UnknownName as error:
            self.faults.append(f"{place}.name: {self._with_broken(error)}")
        except ValueError as error:
            self.faults += [f"{place}.arguments{_below(fault)}" for fault in str(error).splitlines()]
        return None

    def _with_broken(self, error: UnknownName) -> str:
        broken = "; ".join(f"{b.source.plugin} ({b.reason})" for b in self.plugins.broken)
        return f"{error}" + (f"; plugins that could not be loaded: {broken}" if broken else "")


def _validated(kind: type[Made], fields: dict[str, Any]) -> Made:
    """A dataclass from a table, strictly: no coercion, but for lists that become tuples and integers floats."""
    return TypeAdapter(kind).validate_json(json.dumps(fields), strict=True)


def _faults(error: ValidationError) -> list[str]:
    return [_fault(item["loc"], item["msg"], item["input"], item["type"]) for item in error.errors()]


def _below(fault: str) -> str:
    """A fault's place behind that of what it is in; it may have none of its own."""
    return fault if fault.startswith(":") else f".{fault}"


def _fault(loc: tuple[int | str, ...], message: str, value: Any, kind: str) -> str:
    place = "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in loc).lstrip(".")
    found = "" if kind in ("missing", "extra_forbidden") or isinstance(value, dict) else f" (found: {value!r})"
    text = {"extra_forbidden": "no such key here", "missing": "this key is needed"}.get(kind, message)
    return f"{place}: {text.removeprefix('Value error, ')}{found}"


def _title(item: Planned) -> str:
    e = item.experiment
    return f"{item.label} on {e.model.name}, {e.dataset.name}, sparsity {e.sparsity}, seed {e.seed}"
