"""Whether the tickets of a run directory are what its records say of them: counted and evaluated anew."""

from __future__ import annotations

from collections.abc import Iterator

from msgspec import UNSET

from lth_bench.errors import DataError, ModelError
from lth_bench.pruning.tickets import Ticket
from lth_bench.running.context import Context
from lth_bench.running.evaluation import FLIPPED
from lth_bench.running.finished import FinishedExperiment
from lth_bench.running.guarded import NoTicket
from lth_bench.running.metrics import answered
from lth_bench.running.study import Study
from lth_bench.storage.answers import Answers
from lth_bench.storage.record import Record


def reevaluated(subject: FinishedExperiment, context: Context) -> Iterator[str]:
    """In what the record of a finished experiment is not of its ticket, a sentence each.

    As many test images as the last bits of a weight may change, 0.2 %, may be answered otherwise: another processor
    adds in another order.
    """
    try:
        yield from _count_faults(subject.ticket, subject.record)
        yield from _test_faults(subject, context)
    except (NoTicket, DataError, ModelError) as error:
        yield f"it cannot be evaluated: {error}"


def _count_faults(ticket: Ticket, record: Record) -> Iterator[str]:
    """In what the counts of layers are not those of the ticket.

    Weights that are computed from fewer numbers count as that many, so that a record may count fewer than are not zero.
    """
    assert record.sparsity is not None
    counted = record.sparsity.layers
    if sorted(ticket.masks) != sorted(counted):
        yield f"its ticket has masks of {', '.join(ticket.masks)}, its record counts {', '.join(counted)}"
        return
    for name, mask in ticket.masks.items():
        layer, weight = counted[name], ticket.final[name]
        found = {"size": mask.numel(), "mask": int(mask.count_nonzero())}
        for what, number in found.items():
            if getattr(layer, what) != number:
                yield f"layer {name} of its ticket has {number} weights ({what}), of its record {getattr(layer, what)}"
        if outside := int(weight[~mask].count_nonzero()):
            yield f"{outside} pruned weights of layer {name} of its ticket are not zero"
        if layer.kept > (nonzero := int(weight.count_nonzero())):
            yield f"layer {name} of its ticket keeps {nonzero} weights, of its record {layer.kept}"


def _test_faults(subject: FinishedExperiment, context: Context) -> Iterator[str]:
    """In what the accuracy of the last network is not that of the ticket."""
    record, dataset = subject.record, subject.experiment.dataset
    assert record.test is not None and record.data is not None
    if context.read(dataset).digest != record.data.training:
        yield f"the data set {dataset.name!r} here is another one than that of the record"
        return
    network = Study(subject, context).network(subject.ticket.final)
    images = context.seen(context.test(dataset), subject.experiment)
    numbers, answers = answered(network, images, context.watch.progress)
    others, allowed = _others(record, numbers["accuracy"], answers), max(1.0, FLIPPED * answers.images)
    if others > allowed + 0.5:
        yield (
            f"its ticket gets {numbers['accuracy']:.2%} of {answers.images} test images right, its record says "
            f"{record.test.last.accuracy:.2%}: {others:g} answers differ, {allowed:g} may"
        )


def _others(record: Record, accuracy: float, answers: Answers) -> float:
    """How many answers differ from those of a record; at least so many, if it has only their share."""
    assert record.test is not None
    least = abs(accuracy - record.test.last.accuracy) * answers.images
    if record.test.answers is UNSET or record.test.answers.images != answers.images:
        return least
    return max(least, sum(one != other for one, other in zip(record.test.answers.each(), answers.each(), strict=True)))
