"""Runs one experiment and makes its record: first training, then the evaluation, apart from it."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import cast

from msgspec import structs

from lth_bench.errors import FileFault
from lth_bench.experiments.experiment import Experiment
from lth_bench.methods.controls import Base
from lth_bench.pruning.doctor import complaints
from lth_bench.pruning.initial_scores import diagnostic_batch, sensitivities
from lth_bench.pruning.tickets import Ticket, read_ticket
from lth_bench.running.context import Context, instance
from lth_bench.running.environment import environment, peak_memory
from lth_bench.running.evaluation import judge
from lth_bench.running.guarded import NoTicket, guarded, message_of, utf8
from lth_bench.running.messages import Evaluate, Handed, Train, Trained
from lth_bench.running.outcomes import hand_over, outcome, take
from lth_bench.running.transfer import fitted
from lth_bench.storage.files import remove
from lth_bench.storage.record import DataHashes, Identity, Record, RecordedError, failed
from lth_bench.storage.records import outcome_path, read_record, record_path, ticket_path
from lth_bench.training.ledger import Spent
from lth_bench.training.sequels import follow, require_fit
from lth_bench.training.session import Session


def run(identity: Identity, directory: Path, context: Context) -> Record:
    """Trains and evaluates in this process; returns the record, not yet written."""
    trained = train(Train(identity, 1, Spent()), directory, context)
    return trained if isinstance(trained, Record) else evaluate(Evaluate(identity, 1, trained), directory, context)


def train(request: Train, directory: Path, context: Context) -> Trained | Record:
    """Runs the pruner and hands its outcome over to `evaluate`, or returns the record of what went wrong.

    Adds to what earlier tries have spent. Raises Interrupted and DiskFault, for which the pruner is not responsible.
    """
    result, timing = guarded(lambda: _trained(request, directory, context))
    timing = structs.replace(timing, **vars(request.spent), peak_memory=peak_memory(context))
    surroundings = environment(request.identity, directory, context)
    if isinstance(result, RecordedError):
        return _with_about(failed(request.identity, result, environment=surroundings, timing=timing), context)
    return Trained(result, surroundings, timing)


def _trained(request: Train, directory: Path, context: Context) -> Handed:
    experiment = request.identity.experiment
    session = context.session(experiment)
    sessions = [session]
    try:
        require_fit(experiment.after, session.model)
        pruner = _pruner(experiment, directory, session, context)
        with session.account.metered():
            pruner(session)
        session.finish()
        follow(
            sessions, experiment.after, lambda recipe: context.session(dataclasses.replace(experiment, recipe=recipe))
        )
        return hand_over(outcome_path(directory, request.identity.key, request.generation), outcome(sessions))
    except BaseException:
        session.course.check()
        raise
    finally:
        for each in sessions:
            request.spent.add(each.account.spent)


def evaluate(request: Evaluate, directory: Path, context: Context) -> Record:
    """Evaluates a trained experiment; returns its record, not yet written."""
    trained, path = request.trained, outcome_path(directory, request.identity.key, request.generation)

    def work() -> tuple[Record, float] | RecordedError:
        try:
            taken = take(path, trained.handed)
        except FileFault as error:
            return RecordedError(kind="lost", message=f"the file of the outcome cannot be used: {error}", traceback="")
        return judge(request.identity, taken, directory, context)

    result, timing = guarded(work)
    remove(path)
    record, pace = (failed(request.identity, result), None) if isinstance(result, RecordedError) else result
    seconds = trained.timing.seconds + timing.seconds
    timing = structs.replace(trained.timing, seconds=seconds, latency=pace)
    return _with_about(structs.replace(record, environment=trained.environment, timing=timing), context)


def _pruner(experiment: Experiment, directory: Path, session: Session, context: Context) -> Callable[[Session], None]:
    """The callable that drives the Session: the experiment's pruner, or its control with the ticket of its base."""
    if experiment.control is None:
        return cast(Callable[[Session], None], instance(context.plugins.pruners, experiment.pruner))
    base = _base(experiment, directory, session, context)
    return partial(instance(context.plugins.controls, experiment.control), base=base)


def _base(experiment: Experiment, directory: Path, session: Session, context: Context) -> Base:
    ticket = _base_ticket(experiment, directory)
    pruner = instance(context.plugins.pruners, experiment.pruner)
    return Base(pruner, fitted(ticket, session) if experiment.origin else ticket)


def _base_ticket(experiment: Experiment, directory: Path) -> Ticket:
    assert experiment.base is not None
    key = experiment.base.key
    path = record_path(directory, key)
    if not path.exists():
        raise NoTicket(f"the control needs the ticket of experiment {key}, which has no record in {directory}")
    try:
        record = read_record(path)
        if record.ticket is None:
            raise NoTicket(f"the control needs the ticket of experiment {key}, which {record.status}")
        return read_ticket(ticket_path(directory, key), record.ticket.sha256)
    except FileFault as error:
        raise NoTicket(f"the control needs the ticket of experiment {key}: {error}") from error


def _with_about(record: Record, context: Context) -> Record:
    """A record with the hash of its data and the faults of its model, if they can be found."""
    experiment = record.experiment
    try:
        data = record.data or DataHashes(context.read(experiment.dataset).digest)
        return structs.replace(record, data=data, unfit=_unfit(experiment, context))
    except Exception:  # the error of the record says what is wrong with them
        return record


def _unfit(experiment: Experiment, context: Context) -> list[str]:
    """The doctor's complaints about an experiment's network, with the initial weights of seed 0."""
    network = context.network(experiment, 0)
    batch = diagnostic_batch(context.examples(experiment)[0])
    try:
        scores = sensitivities(network, context.prunable(experiment, network), batch)
        return complaints(network, scores, batch)
    except Exception as error:  # a network that can be trained must not fail here
        return [f"the doctor could not examine it ({type(error).__name__}: {utf8(message_of(error))[:200]})"]
