"""Faults of experiments that torch or the data reveal before any experiment starts."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import replace

import torch

from lth_bench.data.examples import Source
from lth_bench.errors import DataError, ModelError
from lth_bench.experiments.experiment import Choice, Experiment
from lth_bench.experiments.patterns import parsed
from lth_bench.experiments.recipe import Recipe, Schedule
from lth_bench.pruning.allocation import Shapes, kept_count, sizes_of
from lth_bench.pruning.doctor import standardised
from lth_bench.pruning.patterns import misfit
from lth_bench.pruning.rehearsal import Rehearsal
from lth_bench.running.context import Context
from lth_bench.running.first_calls import unsuitable
from lth_bench.running.transfer import origin_faults
from lth_bench.training import sequels


def preflight(experiments: Iterable[Experiment], context: Context) -> list[str]:
    """Faults of data, models, sparsities and, if there are none of these, pruners, one sentence each."""
    experiments = list(experiments)
    return faults_of(experiments, context) or list(unsuitable(experiments, context))


def faults_of(experiments: list[Experiment], context: Context) -> list[str]:
    """Faults of data, models and sparsities, one sentence each."""
    data_faults = list(_data_faults(experiments, context))
    absent, faults = [dataset for dataset, _ in data_faults], [fault for _, fault in data_faults]
    shapes: dict[str, Shapes | str] = {}
    drawn: set[str] = set()
    for experiment in experiments:
        if experiment.dataset in absent:
            continue
        pair = _pair(experiment)
        if pair not in shapes:
            shapes[pair] = _prunable_shapes(experiment, context)
        faults += _faults(experiment, shapes[pair])
        faults += _recipe_faults(experiment, context)
        draw = f"{pair} {experiment.recipe.initialisation} {experiment.recipe.norm_scale}"
        if draw not in drawn and not isinstance(shapes[pair], str):
            drawn.add(draw)
            faults += _overwritten(experiment, context)
        sequel = f"{pair} {experiment.after.batch_norm}"
        if sequel not in drawn and not isinstance(shapes[pair], str):
            drawn.add(sequel)
            faults += _without_sequel(experiment, context)
    unsound = {pair for pair, found in shapes.items() if isinstance(found, str)}
    checked = [e for e in experiments if _pair(e) in shapes]
    sound = [e for e in checked if not {_pair(e), _pair(e.base or e)} & unsound]
    return list(dict.fromkeys([*faults, *_misfits(sound, absent, context)]))


def _pair(experiment: Experiment) -> str:
    return f"{experiment.model} {experiment.dataset}"


def _misfits(experiments: list[Experiment], absent: list[Choice], context: Context) -> Iterator[str]:
    """Faults of tickets that do not fit the network they are to be trained in."""
    pairs = {f"{e.model} {e.dataset} {e.base.dataset}": e for e in experiments if e.origin and e.base}
    for experiment in pairs.values():
        assert experiment.base is not None
        if experiment.base.dataset not in absent:
            yield from origin_faults(experiment, context)


def _data_faults(experiments: list[Experiment], context: Context) -> Iterator[tuple[Choice, str]]:
    for dataset in {str(experiment.dataset): experiment.dataset for experiment in experiments}.values():
        try:
            context.training(dataset)
            context.test(dataset)
        except DataError as error:
            registered = context.plugins.datasets.items[dataset.name]
            remedy = "; or use --download" if getattr(registered, "download", None) and context.data_root else ""
            yield dataset, f"datasets: {error}{remedy}"


def _prunable_shapes(experiment: Experiment, context: Context) -> Shapes | str:
    """The shapes of the prunable weights, or what is wrong with the model."""
    classes = context.classes(experiment.dataset)
    try:
        batch = context.examples(experiment)[0].batch(slice(0, 2))
        rehearsal = Rehearsal(lambda seed: context.network(experiment, seed), batch, classes)
        fault = rehearsal.fault()
        network = context.network(experiment, 0)
    except ModelError as error:
        return f"models: {error}"
    if fault:
        return f"models: {experiment.model.name!r} {fault}"
    if fault := standardised(network, batch.inputs):
        return f"models: {experiment.model.name!r} {fault}; use a model without weight standardisation"
    shapes = {name: tuple(weight.shape) for name, weight in context.prunable(experiment, network).items()}
    return shapes or f"models: {experiment.model.name!r} has no prunable convolution or linear weight"


def _faults(experiment: Experiment, shapes: Shapes | str) -> Iterator[str]:
    name = experiment.model.name
    if isinstance(shapes, str):
        yield shapes
    elif experiment.pattern:
        if fault := misfit(parsed(experiment.pattern), shapes):
            yield f"sparsities: for {name!r}: {fault}"
    elif kept_count(experiment.sparsity, size := sum(sizes_of(shapes).values())) == 0:
        yield f"sparsities: {experiment.sparsity} would leave none of the {size:,} prunable weights of {name!r}"


def _overwritten(experiment: Experiment, context: Context) -> Iterator[str]:
    """A fault of recipes that draw initial weights or scales over those that the model has loaded."""
    recipe = experiment.recipe
    drawn = [(name, getattr(recipe, name)) for name in ("initialisation", "norm_scale")]
    drawn = [(name, value) for name, value in drawn if value != "own"]
    if not drawn:
        return
    own = replace(experiment, recipe=replace(recipe, initialisation="own", norm_scale="own"))
    one, other = (context.prunable(own, context.network(own, seed)) for seed in (0, 1))
    if loaded := [name for name, weight in one.items() if torch.equal(weight, other[name]) and bool(weight.any())]:
        name, value = drawn[0]
        yield (
            f"recipes: {name} = {value!r} would overwrite weights that the model "
            f"{experiment.model.name!r} has loaded ({loaded[0]} is the same for every seed); take a recipe with "
            f"{name} = 'own', or a model without a checkpoint"
        )


def _without_sequel(experiment: Experiment, context: Context) -> Iterator[str]:
    """Why what is to follow the mask cannot follow it on this network."""
    if experiment.after.batch_norm and (fault := sequels.misfit(experiment.after, context.network(experiment, 0))):
        yield f"after: for {experiment.model.name!r}: {fault}"


def _recipe_faults(experiment: Experiment, context: Context) -> Iterator[str]:
    """Faults of the recipes of an experiment and of what follows its mask, on its data."""
    data, name = context.training(experiment.dataset)[0], experiment.dataset.name
    for recipe in filter(None, (experiment.recipe, experiment.after.recipe)):
        yield from _unfit(recipe, data, name)


def _unfit(recipe: Recipe, data: Source, name: str) -> Iterator[str]:
    if recipe.batch_size > len(data):
        yield f"recipes: batch_size {recipe.batch_size} is more than the {len(data)} training examples of {name!r}"
        return
    try:
        Schedule(recipe, len(data) // recipe.batch_size)
    except ValueError as error:
        yield f"recipes: on {name!r}: {error}"
    yield from (f"recipes: {name!r}: {fault}" for fault in data.faults(recipe))
