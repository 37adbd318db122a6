"""Reads a suite file and lists its experiments."""

from __future__ import annotations

import tomllib
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from functools import reduce
from itertools import groupby
from pathlib import Path
from typing import Any, cast

from pydantic import ValidationError

from lth_bench.errors import SuiteError, UnknownName
from lth_bench.experiments.about import About
from lth_bench.experiments.choices import about_choice, faults_of, label
from lth_bench.experiments.experiment import Planned
from lth_bench.experiments.plugins import Plugins
from lth_bench.experiments.resolving import Resolver, SuiteExperiment
from lth_bench.experiments.suite import Suite, keys, validated_suite


def suite_path(name: str, plugins: Plugins) -> Path:
    """The path of a suite file; `name` is a path that ends in .toml, or a registered suite. Raises SuiteError."""
    if _is_path(name):
        return Path(name)
    try:
        return Path(plugins.suites[name])
    except UnknownName as error:
        raise SuiteError([f"{error}; or give the path of a .toml file"]) from error


def weight_folders(name: str, plugins: Plugins, root: Path | None = None) -> list[Path]:
    """Where weights that a suite names are looked up: beside its file, then below the data root. Raises SuiteError."""
    return [suite_path(name, plugins).absolute().parent, *([root] if root else [])]


def read_suite(name: str, plugins: Plugins, root: Path | None = None) -> tuple[str, Suite]:
    """The name and content of a suite: its registered name, or the stem of its path. Raises SuiteError.

    `name` as for `suite_path`.
    """
    path = suite_path(name, plugins)
    content: dict[str, Any] = {}
    try:
        content = tomllib.loads(path.read_text(encoding="utf-8"))
        return path.stem if _is_path(name) else name, validated_suite(content, plugins.datasets)
    except (OSError, UnicodeDecodeError) as error:
        raise SuiteError([f"cannot read the suite file {path}: {error}"]) from error
    except tomllib.TOMLDecodeError as error:
        raise SuiteError([f"{path}: not valid TOML: {error}"]) from error
    except ValidationError as error:
        faults = [
            *faults_of(error, keys),
            *_further_faults(content, error, plugins, weight_folders(name, plugins, root)),
        ]
        raise SuiteError([f"{path}: {fault}" for fault in faults]) from error


def _is_path(name: str) -> bool:
    return Path(name).suffix == ".toml"


def _further_faults(
    content: dict[str, Any], error: ValidationError, plugins: Plugins, folders: Sequence[Path]
) -> list[str]:
    """The faults that a suite still has without its unknown keys, which are removed from `content`."""
    for item in error.errors():
        *path, key = item["loc"]
        if item["type"] == "extra_forbidden":
            table: Any = reduce(lambda outer, part: outer[part], path, cast(Any, content))
            del table[key]
    try:
        plan(validated_suite(content, plugins.datasets), plugins, folders)
    except SuiteError as more:
        return more.faults
    except ValidationError:
        pass  # these faults are among the first ones
    return []


def plan(suite: Suite, plugins: Plugins, folders: Sequence[Path] = ()) -> list[Planned]:
    """All experiments of a suite, ordered by seed, controls after their base. Raises SuiteError with every fault.

    Within a seed, experiments that train a ticket found elsewhere come last, each after the one that finds it. Weights
    of models lie in `folders`, see `weight_folders`.
    """
    resolver = Resolver(suite, plugins, folders)
    wanted = list(resolver.wanted())
    keys = Counter(item.planned.experiment.key for item in wanted)
    if doubled := [item.planned for item in wanted if keys[item.planned.experiment.key] > 1]:
        resolver.faults.append(f"the same experiment is asked for twice: {_title(doubled[0])}")
    if resolver.faults:
        raise SuiteError(list(dict.fromkeys(resolver.faults)))
    return list(_with_sources(wanted, set(keys)))


def _with_sources(wanted: list[SuiteExperiment], keys: set[str]) -> Iterator[Planned]:
    """The suite's experiments; those that find tickets for others are added where the suite does not ask for them."""
    for _, items in groupby(wanted, key=lambda item: item.planned.experiment.seed):
        for item in sorted(items, key=lambda item: item.source is not None):
            if item.source and item.source.experiment.key not in keys:
                keys.add(item.source.experiment.key)
                yield item.source
            yield item.planned


def methods(planned: Iterable[Planned], plugins: Plugins) -> dict[str, dict[str, About]]:
    """What the pruners and controls of experiments say of themselves, by kind and label."""
    said: dict[str, dict[str, About]] = {"pruner": {}, "control": {}}
    for item in planned:
        for kind, registry in (("pruner", plugins.pruners), ("control", plugins.controls)):
            if chosen := getattr(item.experiment, kind):
                said[kind].setdefault(label(chosen), about_choice(registry, chosen))
    return said


def _title(item: Planned) -> str:
    experiment = item.experiment
    model, dataset = item.model_label or label(experiment.model), item.dataset_label or label(experiment.dataset)
    return f"{item.label}, {model} on {dataset}, sparsity {experiment.sparsity}, seed {experiment.seed}"
