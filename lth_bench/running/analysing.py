"""Runs one analysis of one experiment and makes its record."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import msgspec
from msgspec import structs

from lth_bench.errors import Unsuitable
from lth_bench.experiments.experiment import Experiment, without_defaults
from lth_bench.running.context import Context, instance
from lth_bench.running.environment import environment, peak_memory
from lth_bench.running.finished import FinishedExperiment
from lth_bench.running.guarded import guarded
from lth_bench.running.messages import Train
from lth_bench.running.metrics import described
from lth_bench.running.study import Study
from lth_bench.storage.findings import RESERVED, AnalysisFindings, TrainingWork
from lth_bench.storage.record import Identity, Record, RecordedError, ended, failed
from lth_bench.storage.records import analysed_directory, read_record, record_path
from lth_bench.storage.work import RecordedEvent
from lth_bench.training.notes import fault, unpacked
from lth_bench.training.session import Session


def analyse(request: Train, folder: Path, context: Context) -> Record:
    """The record of an analysis, not yet written. Raises Interrupted and DiskFault."""
    result, timing = guarded(lambda: _findings(request, analysed_directory(folder), context))
    timing = structs.replace(timing, **vars(request.spent), peak_memory=peak_memory(context))
    surroundings = environment(request.identity, analysed_directory(folder), context)
    if isinstance(result, RecordedError):
        return failed(request.identity, result, environment=surroundings, timing=timing)
    return ended(request.identity, "done", findings=result, environment=surroundings, timing=timing)


def _findings(request: Train, directory: Path, context: Context) -> AnalysisFindings:
    study = Study(_subject(request.identity, directory), context)
    try:
        return _found(request.identity, study, context)
    except BaseException:
        for _, session in study.sessions:
            session.course.check()
        raise
    finally:
        for _, session in study.sessions:
            request.spent.add(session.account.spent)


def _subject(identity: Identity, directory: Path) -> FinishedExperiment:
    assert identity.analysis is not None
    own = structs.replace(identity, key=identity.analysis.key, analysis=None)
    return FinishedExperiment(directory, own, read_record(record_path(directory, own.key)))


def _found(identity: Identity, study: Study, context: Context) -> AnalysisFindings:
    assert identity.analysis is not None
    analysis = instance(context.plugins.analyses, identity.analysis.choice)
    try:
        rows = [_row(row) for row in analysis(study)]
    except Unsuitable as error:
        return AnalysisFindings(reason=str(error))
    return AnalysisFindings(rows, work=list(_work(study.sessions, context)))


def _row(row: Any) -> dict[str, Any]:
    """A row as plain values. Raises ValueError for one that a record cannot hold, or of which tables have a column."""
    if not isinstance(row, Mapping):
        raise ValueError(f"an analysis yields rows, mappings of names to numbers and texts, not {row!r}")
    plain = {name: unpacked(value) for name, value in row.items()}
    for name, value in plain.items():
        if not isinstance(name, str) or name in RESERVED:
            raise ValueError(f"a row has a column {name!r}, which tables fill themselves; give it another name")
        if wrong := "holds several values" if isinstance(value, list) else fault(value):
            raise ValueError(f"the column {name!r} of a row {wrong}; wanted a finite number or a text, or leave it out")
    return plain


def _work(sessions: Iterable[tuple[Experiment, Session]], context: Context) -> Iterable[TrainingWork]:
    """What the Sessions have trained, network by network."""
    work: dict[str, list[RecordedEvent]] = defaultdict(list)
    networks: dict[str, Experiment] = {}
    for experiment, session in sessions:
        name = f"{experiment.model} {experiment.dataset}"
        networks[name] = experiment
        events = [without_defaults(event) for event in session.account.ledger.events]
        work[name] += msgspec.convert(events, list[RecordedEvent], strict=False)
    for name, events in work.items():
        if events:
            network = context.network(networks[name], 0)
            shape = context.read(networks[name].dataset).training.shape
            yield TrainingWork(described(network, context.prunable(networks[name], network), shape), events)
