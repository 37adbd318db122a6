"""Names in a suite, resolved into experiments."""

from __future__ import annotations

import dataclasses
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import partial
from itertools import product
from typing import Any, cast

from pydantic import JsonValue, ValidationError

from lth_bench.errors import UnknownName
from lth_bench.experiments.choices import choice, dataset_choice, faults_of, label, model_choice, validated
from lth_bench.experiments.experiment import Choice, Experiment, Origin, Planned, without_defaults
from lth_bench.experiments.plugins import Plugins, Registry
from lth_bench.experiments.recipe import Recipe
from lth_bench.experiments.suite import ControlEntry, Named, PrunerEntry, Suite


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
class _Wanted:
    """An experiment of the suite and, if its ticket is from elsewhere, the one that finds it there."""

    planned: Planned
    source: Planned | None = None


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
            return validated(Recipe, {**start, **{key: value for key, value in own.items() if key in known}})
        except ValidationError as error:
            self.faults += [f"{place}{_below(fault)}" for fault in faults_of(error)]
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
        broken = "; ".join(f"{b.provider.plugin} ({b.reason})" for b in self.plugins.broken)
        return f"{error}" + (f"; plugins that could not be loaded: {broken}" if broken else "")


def _below(fault: str) -> str:
    """A fault's place behind that of what it is in; it may have none of its own."""
    return fault if fault.startswith(":") else f".{fault}"
