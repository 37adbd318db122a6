"""From a suite to its experiments."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import product
from pathlib import Path
from typing import Any

from lth_bench.experiments import claims
from lth_bench.experiments.choices import label, titled, with_revision
from lth_bench.experiments.experiment import NOTHING, After, Choice, Experiment, Origin, Planned
from lth_bench.experiments.lookup import Lookup
from lth_bench.experiments.patterns import parsed
from lth_bench.experiments.plugins import Plugins, Registry
from lth_bench.experiments.recipe import Recipe
from lth_bench.experiments.suite import ControlEntry, Labelled, PrunerEntry, Suite


@dataclass(frozen=True)
class SuiteExperiment:
    """An experiment of a suite and, if it trains a ticket found elsewhere, the experiment that finds the ticket."""

    planned: Planned
    source: Planned | None = None


@dataclass(frozen=True)
class PlacedControl:
    """A control, its place in the suite, and the data set and recipe that its tickets were found with, if given."""

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
        """The origin of a ticket that is trained on this data set by this recipe; only what differs from those."""
        found_on = None if self.dataset == dataset else self.dataset
        return Origin(found_on, None if self.recipe == recipe else self.recipe)


@dataclass(frozen=True)
class Sequel:
    """What follows the mask, and the words for it behind the name of a method."""

    after: After = NOTHING
    words: str = ""


@dataclass(frozen=True)
class SuiteRow:
    """A pruner at one sparsity, perhaps with a control: an experiment but for its data set, model and seed."""

    label: str
    pruner_label: str
    recipe_name: str
    recipe: Recipe
    pruner: Choice
    sparsity: float
    models: frozenset[str]
    pattern: str = ""
    after: After = NOTHING
    control: PlacedControl | None = None

    @property
    def control_name(self) -> str:
        """The name of its control; "" without one."""
        return self.control.choice.name if self.control else ""

    def experiment(self, dataset: Choice, model: Choice, seed: int) -> Experiment:
        """The row's experiment without its control."""
        return Experiment(
            dataset, model, self.recipe, self.pruner, self.sparsity, seed, pattern=self.pattern, after=self.after
        )


class Resolver:
    """Resolves a suite into experiments; `faults` lists all that is wrong with it once `wanted` is exhausted."""

    def __init__(self, suite: Suite, plugins: Plugins, folders: Sequence[Path] = ()) -> None:
        self._suite, self._plugins, self._lookup = suite, plugins, Lookup(plugins, suite.recipes, folders)
        self.faults = self._lookup.faults
        self._check_unique()

    def wanted(self) -> Iterator[SuiteExperiment]:
        """The experiments that the suite asks for, seed by seed."""
        suite, lookup = self._suite, self._lookup
        resolved = [lookup.dataset(f"datasets[{i}]", entry) for i, entry in enumerate(suite.datasets)]
        datasets = [dataset for dataset in resolved if dataset]
        models = [lookup.model(f"models[{i}]", entry) for i, entry in enumerate(suite.models)]
        self._dataset_labels = _labels(self._plugins.datasets, zip(resolved, suite.datasets, strict=True))
        self._model_labels = _labels(self._plugins.models, zip(models, suite.models, strict=True))
        rows = [row for i, entry in enumerate(suite.pruners) for row in self._rows(f"pruners[{i}]", entry)]
        self._check_origins(rows, datasets)
        names = (
            _names(self._plugins.models, zip(models, suite.models, strict=True)),
            _names(self._plugins.datasets, zip(resolved, suite.datasets, strict=True)),
        )
        self.faults += claims.faults(suite.claims, claims.Rows(rows, *names), self._plugins)
        for seed, dataset, model, row in product(suite.seeds, datasets, models, rows):
            if model.name in row.models:
                yield from self._experiments(row, row.experiment(dataset, model, seed))

    def _experiments(self, row: SuiteRow, experiment: Experiment) -> Iterator[SuiteExperiment]:
        """The row's experiment; none for a control on tickets from elsewhere if they are from here."""
        if row.control is None:
            yield SuiteExperiment(self._planned(experiment, row))
            return
        controlled = replace(experiment, control=row.control.choice)
        if not row.control.found:
            yield SuiteExperiment(self._planned(controlled, row))
        elif (origin := row.control.origin(experiment.dataset, row.recipe)) != Origin():
            yield self._from_elsewhere(replace(controlled, origin=origin), row, row.control)

    def _planned(self, experiment: Experiment, row: SuiteRow) -> Planned:
        return self._labelled(experiment, row.label, row.recipe_name)

    def _labelled(self, experiment: Experiment, text: str, recipe_name: str, *, helper: bool = False) -> Planned:
        return Planned(
            experiment,
            text,
            recipe_name,
            recipe_name != self._suite.recipe,
            helper,
            self._dataset_labels.get(str(experiment.dataset), ""),
            self._model_labels.get(str(experiment.model), ""),
            self._lookup.files.get(str(experiment.model.arguments.get("weights"))),
        )

    def _from_elsewhere(self, experiment: Experiment, row: SuiteRow, control: PlacedControl) -> SuiteExperiment:
        base = experiment.base
        assert base
        name = control.recipe_name or row.recipe_name
        text = f"{row.pruner_label}, for its ticket" + (f" (with {name})" if control.recipe_name else "")
        source = self._labelled(base, text, name, helper=True)
        return SuiteExperiment(self._planned(experiment, row), source)

    def _rows(self, place: str, entry: PrunerEntry) -> Iterator[SuiteRow]:
        """One pruner's rows: each sparsity or pattern with each sequel of the mask.

        The controls follow a sparsity that is not 0 and has no sequel.
        """
        name = entry.recipe or self._suite.recipe
        recipe = self._lookup.recipe(f"{place}.recipe" if entry.recipe else "recipe", name)
        pruner = self._lookup.pruner(place, entry)
        controls = list(self._controls(place, entry))
        sequels = list(self._sequels(f"{place}.after" if entry.after else "after", entry.after or self._suite.after))
        models = self._models(place, entry)
        if recipe is None or pruner is None:
            return
        text = _label(self._plugins.pruners, pruner, entry.label)
        for target, sequel in product(entry.sparsities or self._suite.sparsities, sequels):
            pattern = target if isinstance(target, str) else ""
            sparsity = parsed(pattern).sparsity if pattern else float(target)
            words = f"{text}, {pattern}{sequel.words}" if pattern else f"{text}{sequel.words}"
            plain = SuiteRow(words, text, name, recipe, pruner, sparsity, models, pattern, sequel.after)
            yield plain
            for control in controls if sparsity and not pattern and sequel == Sequel() else ():
                found = f" ({control.found})" if control.found else ""
                changed = titled(self._plugins.controls, control.choice)
                yield replace(plain, label=f"{text}, {changed}{found}", control=control)

    def _sequels(self, place: str, names: list[str]) -> Iterator[Sequel]:
        for name in names:
            if name == "nothing":
                yield Sequel()
            elif name == "batch_norm":
                yield Sequel(After(batch_norm=True), ", batch norm recalibrated")
            elif recipe := self._lookup.recipe(f"{place} ('nothing', 'batch_norm' or a recipe)", name):
                yield Sequel(After(recipe=recipe), f", then {name}")

    def _models(self, place: str, entry: PrunerEntry) -> frozenset[str]:
        """The names of the suite's models that a pruner is used on."""
        own = list(dict.fromkeys(model.name for model in self._suite.models))
        names = own if entry.models is None else entry.models
        self.faults += [
            f"{place}.models: {name!r} is not a model of this suite; those are {', '.join(own)}"
            for name in names
            if name not in own
        ]
        return frozenset(names)

    def _controls(self, place: str, entry: PrunerEntry) -> Iterator[PlacedControl]:
        """The controls of a pruner: its own list, else the suite's."""
        entries, within = self._suite.controls, "controls"
        if entry.controls is not None:
            entries, within = entry.controls, f"{place}.controls"
            if entries and entry.sparsities and not any(entry.sparsities):
                self.faults.append(f"{within}: at sparsity 0 nothing is pruned that a control could change")
        for number, item in enumerate(entries):
            if control := self._control(f"{within}[{number}]", item):
                yield control

    def _control(self, place: str, entry: ControlEntry) -> PlacedControl | None:
        lookup = self._lookup
        control = lookup.control(place, entry)
        dataset = lookup.dataset(f"{place}.found_on", entry.found_on) if entry.found_on else None
        recipe = lookup.recipe(f"{place}.found_with", entry.found_with) if entry.found_with else None
        if control is None or (entry.found_on and not dataset) or (entry.found_with and not recipe):
            return None
        if (dataset or recipe) and not lookup.reads_ticket(control):
            self.faults.append(
                f"{place}: {entry.name!r} searches anew where it is trained and reads no ticket; leave found_on and "
                f"found_with out"
            )
        return PlacedControl(control, place, dataset, entry.found_with, recipe)

    def _check_unique(self) -> None:
        suite = self._suite
        named = {(entry.label, entry.name, str(entry.arguments), entry.recipe): entry.label for entry in suite.pruners}
        labels = [label for label in named.values() if label]
        lists: dict[str, list[Any]] = {
            "seeds": suite.seeds,
            "sparsities": suite.sparsities,
            "after": suite.after,
            "label": labels,
            "label of models": [entry.label for entry in suite.models if entry.label],
            "label of datasets": [entry.label for entry in suite.datasets if entry.label],
        }
        self.faults += [
            f"{place}: {value!r} stands there {count} times"
            for place, values in lists.items()
            for value, count in Counter(values).items()
            if count > 1
        ]

    def _check_origins(self, rows: list[SuiteRow], datasets: list[Choice]) -> None:
        """Refuses `found_on` and `found_with` where every ticket of the control is found where it is trained."""
        elsewhere: dict[str, bool] = {}
        for row, dataset in product(rows, datasets):
            if row.control and row.control.found:
                place, origin = row.control.place, row.control.origin(dataset, row.recipe)
                elsewhere[place] = elsewhere.get(place, False) or origin != Origin()
        self.faults += [
            f"{place}: its tickets are found where they are trained; name another data set or recipe, or leave "
            f"found_on and found_with out"
            for place, is_elsewhere in elsewhere.items()
            if not is_elsewhere
        ]


def _labels(registry: Registry, entries: Iterable[tuple[Choice | None, Labelled]]) -> dict[str, str]:
    """What tables call data sets or models, where that is not how experiments name them."""
    labels = [(choice, _label(registry, choice, entry.label)) for choice, entry in entries if choice]
    return {str(choice): text for choice, text in labels if text != label(choice)}


def _names(registry: Registry, entries: Iterable[tuple[Choice | None, Labelled]]) -> list[str]:
    """All names of models or data sets that a claim may use: as tables call them, and as the suite does."""
    shown = (
        (_label(registry, choice, entry.label) if choice else entry.label, entry.name) for choice, entry in entries
    )
    return [name for names in shown for name in names if name]


def _label(registry: Registry, choice: Choice, given: str | None) -> str:
    """The label that a suite gives to a choice, else what its plugin and its parameters say."""
    return with_revision(given, choice) if given else titled(registry, choice)
