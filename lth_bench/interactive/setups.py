"""Networks and Sessions outside of runs, for scripts and notebooks."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, TypeVar, cast

import torch
from pydantic import BeforeValidator, TypeAdapter, ValidationError
from torch import Tensor, nn

from lth_bench.errors import SuiteError
from lth_bench.experiments.choices import dataset_choice, faults_of, model_choice
from lth_bench.experiments.experiment import Choice, Experiment
from lth_bench.experiments.patterns import parsed
from lth_bench.experiments.plugins import Plugins, load_plugins
from lth_bench.experiments.recipe import Recipe
from lth_bench.experiments.strict import Named, named
from lth_bench.experiments.suite import Target
from lth_bench.export.state_files import blueprint, loaded
from lth_bench.interactive.reading import Place, data_folder
from lth_bench.randomness import stream_seed
from lth_bench.running import preflight
from lth_bench.running.context import Context
from lth_bench.running.plugin_files import load_file
from lth_bench.storage.record import Record
from lth_bench.training.session import Session

Entry = str | Mapping[str, Any]
"""A name, or a table such as `{"name": "mlp", "arguments": {"widths": [30]}}`, as suites have it."""
Value = TypeVar("Value")
_ENTRY: TypeAdapter[Named] = TypeAdapter(Annotated[Named, BeforeValidator(named)])
_TARGET: TypeAdapter[float | str] = TypeAdapter(Target)


def network(
    record: Record,
    weights: Mapping[str, Tensor] | None = None,
    *,
    data: Place | None = None,
    plugins: Sequence[Place] = (),
) -> nn.Module:
    """The network of an experiment, adapter options included, on the CPU and in evaluation mode.

    It has the initial weights of the experiment's seed, or the given ones, such as the `final` of its ticket. Its data
    set is read for the size of images, C×H×W, and the number of classes; `data` is the folder of data sets, and
    `plugins` are files as `--plugin` takes them. Raises ModelError, DataError, FileFault and UnknownName.
    """
    experiment = record.experiment
    context = _context(plugins, data, "cpu")
    if weights is None:
        return context.network(experiment, stream_seed(experiment.seed, "initialisation")).eval()
    shape = context.read(experiment.dataset).training.shape
    made = blueprint(experiment.model, shape, context.classes(experiment.dataset))
    return loaded(made.network(context.plugins), dict(weights), made.model.name)


def session(
    model: Entry,
    dataset: Entry,
    recipe: str | Recipe,
    sparsity: float | str = 0.9,
    *,
    seed: int = 0,
    data: Place | None = None,
    device: str = "cpu",
    plugins: Sequence[Place] = (),
) -> Session:
    """A Session as a pruner gets it, at step 0 with nothing pruned: the same that an experiment of a suite would have.

    `sparsity` is the target, from 0 and below 1, or a pattern such as "2:4". `data` is the folder of data sets, and
    `plugins` are files as `--plugin` takes them. Nothing is looked up or stored. Raises SuiteError, with a sentence for
    every fault, DataError, FileFault and UnknownName.
    """
    context = _context(plugins, data, device)
    try:
        experiment = _experiment(context.plugins, model, dataset, recipe, _valid(_TARGET, sparsity, "sparsity"), seed)
    except ValueError as error:
        raise SuiteError(str(error).splitlines()) from error
    if faults := preflight.faults_of([experiment], context):
        raise SuiteError(faults)
    return context.session(experiment)


def _experiment(
    plugins: Plugins, model: Entry, dataset: Entry, recipe: str | Recipe, target: float | str, seed: int
) -> Experiment:
    chosen, data = _valid(_ENTRY, model, "model"), _valid(_ENTRY, dataset, "dataset")
    pattern = target if isinstance(target, str) else ""
    return Experiment(
        dataset=dataset_choice(plugins, data.name, dict(data.arguments)),
        model=model_choice(plugins, chosen.name, dict(chosen.arguments)),
        recipe=recipe if isinstance(recipe, Recipe) else cast(Recipe, plugins.recipes[recipe]),
        pruner=Choice("dense"),
        sparsity=parsed(pattern).sparsity if pattern else cast(float, target),
        seed=seed,
        pattern=pattern,
    )


def _valid(kind: TypeAdapter[Value], value: Any, name: str) -> Value:
    """A value of this kind. Raises SuiteError, with the name of what is wrong."""
    try:
        return kind.validate_python(value)
    except ValidationError as error:
        raise SuiteError([f"{name}{'.' * (not fault.startswith(':'))}{fault}" for fault in faults_of(error)]) from error


def _context(files: Sequence[Place], data: Place | None, device: str) -> Context:
    plugins = load_plugins()
    for file in files:
        load_file(Path(file), plugins)
    return Context(plugins, data_folder(data), torch.device(device))
