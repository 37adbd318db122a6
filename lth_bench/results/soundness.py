"""What a record of an experiment contradicts itself in."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from math import isfinite

from msgspec import UNSET

from lth_bench.experiments.experiment import Experiment
from lth_bench.storage.answers import Answers
from lth_bench.storage.record import OF_RESULTS, Curve, Evaluation, Identity, Point, Record, Sparsity

TOLERANCE = 1e-9  # of shares that follow from counts
WHOLE = 1e-4  # how far from a whole number of images rounding may take an accuracy
DISTANCE = 0.15
"""How far above validation accuracy test accuracy may lie; 0.06 is the most of published records, on 400 images."""
POINTS = ("last", "best_validation", "early_stop")


def faults_of_record(record: Record) -> Iterator[str]:
    """What a record of an experiment contradicts itself in."""
    yield from key_faults(record)
    yield from missing(record, OF_RESULTS)
    if record.sparsity:
        yield from _sparsity_faults(record.sparsity, record.experiment)
    if record.curve:
        yield from _curve_faults(record.curve)
    if record.test:
        yield from _test_faults(record.test)
    if record.test and record.curve:
        yield from _distance_faults(record.test, record.curve)
    if record.ticket and record.test and record.ticket.step > record.test.last.step:
        yield f"its ticket is of step {record.ticket.step}, after its last step, {record.test.last.step}"


def key_faults(entry: Identity) -> Iterator[str]:
    """That a key is not that of its experiment."""
    if entry.analysis is None and entry.experiment.key != entry.key:
        yield f"its experiment has the key {entry.experiment.key}, not {entry.key}"


def missing(record: Record, fields: Iterable[str]) -> Iterator[str]:
    """The fields that a done record lacks, and an error that it has or lacks."""
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


def _distance_faults(test: Evaluation, curve: Curve) -> Iterator[str]:
    """Test accuracies that no network of the curve comes near."""
    best = max(curve.validation_accuracy, default=1.0)
    for name in POINTS:
        point: Point | None = getattr(test, name)
        if point and point.accuracy > best + DISTANCE:
            reached = f"{best:.2%} on validation images"
            yield f"{name}: an accuracy of {point.accuracy:.2%}, where its curve reaches {reached}"


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
