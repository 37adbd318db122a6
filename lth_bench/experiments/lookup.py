"""Names in a suite, looked up among its own recipes and in the plugins."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Any, cast

from pydantic import JsonValue, ValidationError

from lth_bench.errors import UnknownName
from lth_bench.experiments.checkpoints import cached
from lth_bench.experiments.choices import choice, dataset_choice, faults_of, model_choice, validated
from lth_bench.experiments.experiment import Choice, without_defaults
from lth_bench.experiments.plugins import Plugins
from lth_bench.experiments.recipe import Recipe
from lth_bench.experiments.spelling import known_names, suggestion
from lth_bench.experiments.strict import Named
from lth_bench.experiments.suite import ControlEntry, ModelEntry, PrunerEntry
from lth_bench.experiments.weights import digest_of, find_weights

Table = Mapping[str, JsonValue]


class Lookup:
    """Resolves the names of one suite; a name that cannot be resolved yields None and a sentence in `faults`.

    Weights of models lie in `folders`; `files` has those that were found, by what identifies them.
    """

    def __init__(self, plugins: Plugins, recipes: Mapping[str, Table], folders: Sequence[Path] = ()) -> None:
        self.faults: list[str] = []
        self.files: dict[str, Path] = {}
        self._folders = folders
        self._plugins = plugins
        self._recipes: dict[str, Recipe | None] = {}
        for name, table in recipes.items():
            self._recipes[name] = self._own_recipe(f"recipes.{name}", table)

    def dataset(self, place: str, entry: Named) -> Choice | None:
        return self._choice(partial(dataset_choice, self._plugins), entry, place)

    def pruner(self, place: str, entry: PrunerEntry) -> Choice | None:
        return self._choice(partial(choice, self._plugins.pruners), entry, place)

    def control(self, place: str, entry: ControlEntry) -> Choice | None:
        return self._choice(partial(choice, self._plugins.controls), entry, place)

    def reads_ticket(self, control: Choice) -> bool:
        """Whether a control starts from a ticket; the others search anew."""
        return bool(getattr(self._plugins.controls[control.name], "reads_ticket", True))

    def model(self, place: str, entry: ModelEntry) -> Choice:
        """A model, whether timm has it or not: rows that name it are checked all the same."""
        try:
            choose = partial(model_choice, self._plugins, start=self._start(entry))
        except ValueError as error:
            self.faults.append(f"{place}.{'pretrained' if entry.pretrained else 'weights'}: {error}")
            return Choice(entry.name)
        return self._choice(choose, entry, place) or Choice(entry.name)

    def _start(self, entry: ModelEntry) -> dict[str, Any]:
        """The options that say what a model starts from. Raises ValueError."""
        if "pretrained" in entry.arguments and entry.name not in self._plugins.models:
            raise ValueError("pretrained = true stands beside the arguments, not among them")
        start: dict[str, Any] = {"output_layer": entry.output_layer} if entry.output_layer else {}
        if entry.mean is not None:
            start["normalisation"] = {"mean": entry.mean, "std": entry.std}
        if entry.pretrained:
            checkpoint = cached(entry.name)
            own = {} if entry.normalisation else {"normalisation": asdict(checkpoint.normalisation)}
            return {"weights": self._noted(checkpoint.path), "weights_from": "timm", **own, **start}
        if entry.weights is not None:
            return {"weights": self._noted(find_weights(entry.weights, self._folders)), **start}
        return start

    def _noted(self, path: Path) -> str:
        """What identifies a file, which `files` then has. Raises ValueError."""
        digest = digest_of(path)
        self.files.setdefault(digest, path)
        return digest

    def recipe(self, place: str, name: str) -> Recipe | None:
        """A recipe of the suite, else a registered one."""
        if name in self._recipes:
            return self._recipes[name]
        try:
            return cast(Recipe, self._plugins.recipes[name])
        except UnknownName as error:
            names = ", ".join(self._recipes)
            own = f"; {suggestion(name, self._recipes)}in this suite: {names}" if names else ""
            self.faults.append(f"{place}: {self._with_broken(error)}{own}")
            return None

    def _own_recipe(self, place: str, table: Table) -> Recipe | None:
        """A recipe that the suite defines: all its fields, or changes to the recipe that `like` names."""
        changes = {key: value for key, value in table.items() if key != "like"}
        fields = [f.name for f in dataclasses.fields(Recipe)]
        unknown = [key for key in changes if key not in fields]
        self.faults += [f"{place}.{key}: no such field; {known_names(key, ['like', *fields])}" for key in unknown]
        start = dict[str, Any]()
        if "like" in table:
            other = self.recipe(f"{place}.like", str(table["like"]))
            if other is None:
                return None
            start = without_defaults(other)
        try:
            return validated(Recipe, start | {key: value for key, value in changes.items() if key in fields})
        except ValidationError as error:
            self._refuse(place, faults_of(error))
            return None

    def _choice(self, choose: Callable[[str, dict[str, Any]], Choice], entry: Named, place: str) -> Choice | None:
        try:
            return choose(entry.name, dict(entry.arguments))
        except UnknownName as error:
            self.faults.append(f"{place}.name: {self._with_broken(error)}")
        except ValueError as error:
            self._refuse(f"{place}.arguments", str(error).splitlines())
        return None

    def _refuse(self, place: str, faults: Iterable[str]) -> None:
        """Notes faults below a place; those that start with a colon have no place of their own."""
        self.faults += [f"{place}{fault}" if fault.startswith(":") else f"{place}.{fault}" for fault in faults]

    def _with_broken(self, error: UnknownName) -> str:
        broken = "; ".join(f"{plugin.provider.plugin} ({plugin.reason})" for plugin in self._plugins.broken)
        return f"{error}; plugins that could not be loaded: {broken}" if broken else str(error)
