"""What the records of a run directory say, checked against each other: a seal shows damage, not forgery."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import replace
from math import isfinite
from pathlib import Path

from msgspec import UNSET

from lth_bench.errors import FileFault
from lth_bench.experiments.experiment import Experiment, without_defaults
from lth_bench.hashing import canonical
from lth_bench.storage.answers import Answers
from lth_bench.storage.reading import names
from lth_bench.storage.record import (
    OF_ANALYSES,
    OF_RESULTS,
    Curve,
    Evaluation,
    Identity,
    Point,
    Record,
    Sparsity,
    analysis_identity,
)
from lth_bench.storage.records import (
    RESULTS,
    analysis_path,
    plan_path,
    read_plan,
    read_record,
    record_path,
    record_paths,
)

TOLERANCE = 1e-9  # of shares that follow from counts
WHOLE = 1e-4  # how far from a whole number of images rounding may take an accuracy
POINTS = ("last", "best_validation", "early_stop")


def faults_of(directory: Path) -> list[str]:
    """A sentence for each fault of the plan, the records and the analyses of a run directory; none if it is sound.

    Raises FileFault if it has no records or no plan that can be read.
    """
    records, found = _readable(directory)
    if not plan_path(directory).exists():
        raise FileFault(f"no plan in {directory}: without {plan_path(directory)} nothing tells what its records are of")
    plan = read_plan(directory)
    found += [f"{plan_path(directory)}: {fault}" for entry in plan for fault in _key_faults(entry)]
    found += [f"{record_path(directory, one.key)}: {fault}" for one in records for fault in faults_of_record(one)]
    found += [f"{directory}: {fault}" for fault in [*_not_planned(plan, records), *_seeds(plan), *_copies(records)]]
    of = {record.key: record for record in records}
    for name in names(directory / "analyses"):
        found += _analysis_faults(analysis_path(directory, name), of)
    return found


def faults_of_record(record: Record) -> Iterator[str]:
    """What a record of an experiment contradicts itself in."""
    yield from _key_faults(record)
    yield from _missing(record, OF_RESULTS)
    if record.sparsity:
        yield from _sparsity_faults(record.sparsity, record.experiment)
    if record.curve:
        yield from _curve_faults(record.curve)
    if record.test:
        yield from _test_faults(record.test)
    if record.ticket and record.test and record.ticket.step > record.test.last.step:
        yield f"its ticket is of step {record.ticket.step}, after its last step, {record.test.last.step}"


def _readable(directory: Path) -> tuple[list[Record], list[str]]:
    """The records that can be read, and why others cannot."""
    records, found = [], []
    for path in record_paths(directory):
        try:
            records.append(read_record(path))
        except FileFault as fault:
            found.append(str(fault))
    return records, found


def _key_faults(entry: Identity) -> Iterator[str]:
    if entry.analysis is None and entry.experiment.key != entry.key:
        yield f"its experiment has the key {entry.experiment.key}, not {entry.key}"


def _missing(record: Record, fields: Iterable[str]) -> Iterator[str]:
    absent = [name for name in fields if record.status == "done" and getattr(record, name) is None]
    if absent:
        yield f"it is done without {', '.join(absent)}"
    if (record.status == "done") == (record.error is not None):
        yield f"it is {record.status} {'with' if record.error else 'without'} an error"


def _sparsity_faults(found: Sparsity, experiment: Experiment) -> Iterator[str]:
    for name, total in (("size", found.prunable), ("mask", found.mask), ("kept", found.kept)):
        if (parts := sum(getattr(layer, name) for layer in found.layers.values())) != total:
            yield f"its layers have {parts} of {name}, the whole network {total}"
    for name, layer in found.layers.items():
        if not 0 <= layer.kept <= layer.mask <= layer.size:
            yield f"layer {name} keeps {layer.kept} of {layer.mask} weights under its mask, of {layer.size} at all"
        if layer.effective is not UNSET and not 0 <= layer.effective <= layer.size:
            yield f"layer {name} has {layer.effective} weights on paths, of {layer.size} at all"
    collapsed = [name for name, layer in found.layers.items() if not layer.kept]
    if sorted(collapsed) != sorted(found.collapsed):
        yield f"it calls {found.collapsed} empty, its counts {collapsed}"
    if found.prunable and abs(found.measured - (1 - found.kept / found.prunable)) > TOLERANCE:
        follows = 1 - found.kept / found.prunable
        yield f"its measured sparsity is {found.measured}, of its counts follows {follows:.6f}"
    if found.asked != experiment.sparsity:
        yield f"it was asked for a sparsity of {experiment.sparsity}, and says {found.asked}"


def _curve_faults(curve: Curve) -> Iterator[str]:
    lengths = {name: len(getattr(curve, name)) for name in curve.__struct_fields__}
    if len(set(lengths.values())) > 1:
        yield f"the columns of its curve differ in length: {lengths}"
    if not all(0 <= share <= 1 for share in curve.validation_accuracy):
        yield "its curve has an accuracy outside 0 to 1"


def _test_faults(test: Evaluation) -> Iterator[str]:
    points: dict[str, Point | None] = {name: getattr(test, name) for name in POINTS}
    if test.answers is not UNSET:
        yield from _answer_faults(test.answers, points)
    at: dict[int, tuple[str, float, float]] = {}
    for name, point in points.items():
        if point is None:
            continue
        if not 0 <= point.accuracy <= (1 if point.top5_accuracy is None else point.top5_accuracy) <= 1:
            yield f"{name}: an accuracy of {point.accuracy} cannot be"
        other = at.setdefault(point.step, (name, point.accuracy, point.loss))
        if isfinite(point.loss) and other[1:] != (point.accuracy, point.loss):
            both = f"accuracies {point.accuracy} and {other[1]}, losses {point.loss} and {other[2]}"
            yield f"{name} and {other[0]} are the same step, {point.step}, with {both}"
        if point.step > test.last.step:
            yield f"{name} is of step {point.step}, after the last one, {test.last.step}"


def _answer_faults(answers: Answers, points: dict[str, Point | None]) -> Iterator[str]:
    """What accuracies, shares of so many images, contradict in the answers of the last network."""
    for name, point in points.items():
        if point and abs(point.accuracy * answers.images - round(point.accuracy * answers.images)) > WHOLE:
            yield f"{name}: {point.accuracy} is no share of {answers.images} images"
    try:
        right = sum(answers.each())
    except ValueError as error:
        yield f"its answers cannot be read: {error}"
        return
    if (last := points["last"]) and round(last.accuracy * answers.images) != right:
        yield f"{right} of {answers.images} answers are right, of its accuracy {last.accuracy} follows another number"


def _not_planned(plan: list[Identity], records: list[Record]) -> Iterator[str]:
    planned = {entry.key: entry for entry in plan}
    have = {record.key for record in records}
    yield from (f"{_words(entry)} was planned and has no record" for key, entry in planned.items() if key not in have)
    for record in records:
        if record.key not in planned:
            yield f"{_words(record)} has a record and was never planned"
        elif planned[record.key].experiment != record.experiment:
            yield f"{_words(record)} is another experiment in the plan"


def _seeds(plan: list[Identity]) -> Iterator[str]:
    """Experiments that lack a seed which others of their suite have."""
    rows: dict[tuple[str, str], list[Identity]] = defaultdict(list)
    seeds: dict[str, set[int]] = defaultdict(set)
    for entry in (one for one in plan if not one.helper):
        rows[entry.suite, _but_for_seed(entry)].append(entry)
        seeds[entry.suite].add(entry.experiment.seed)
    for (suite, _), entries in rows.items():
        if lacking := sorted(seeds[suite] - {entry.experiment.seed for entry in entries}):
            yield f"{_words(entries[0])} was not planned with seeds {lacking}, as others of {suite} were"


def _copies(records: list[Record]) -> Iterator[str]:
    """Results of one experiment with several seeds that agree in every loss of a training."""
    seen: dict[tuple[str, str], Record] = {}
    for record in records:
        if record.curve and len(set(record.curve.validation_loss)) > 1:
            losses = canonical([record.curve.training_loss, record.curve.validation_loss])
            first = seen.setdefault((_but_for_seed(record), losses), record)
            if first is not record:
                yield f"{_words(record)} has every loss of seed {first.experiment.seed}"


def _analysis_faults(folder: Path, of: dict[str, Record]) -> Iterator[str]:
    if not (folder / "records").is_dir():
        return
    records, found = _readable(folder)
    yield from found
    for record in records:
        yield from (f"{record_path(folder, record.key)}: {fault}" for fault in _analysed_faults(record, of))


def _analysed_faults(record: Record, of: dict[str, Record]) -> Iterator[str]:
    yield from _missing(record, OF_ANALYSES)
    if record.analysis is None:
        yield "it lies with analyses and is none"
        return
    base = of.get(record.analysis.key)
    if base is None or base.status not in RESULTS:
        yield f"it analyses the experiment {record.analysis.key}, which has no result here"
    elif base.ticket is None or base.ticket.sha256 != record.analysis.ticket:
        yield f"it analyses another ticket than the experiment {base.key} has"
    elif (key := analysis_identity(record.analysis.choice, base, record.analysis.ticket).key) != record.key:
        yield f"what it analyses has the key {key}, not {record.key}"


def _but_for_seed(entry: Identity) -> str:
    return canonical(without_defaults(replace(entry.experiment, seed=0)))


def _words(entry: Identity) -> str:
    experiment = entry.experiment
    control = f" with the control {experiment.control.name}" if experiment.control else ""
    return f"{entry.label}{control}, sparsity {experiment.sparsity}, seed {experiment.seed} ({entry.key})"
