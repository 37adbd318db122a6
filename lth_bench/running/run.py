"""Runs one experiment and makes its record: training first, then, apart from it, the evaluation."""

from __future__ import annotations

import dataclasses
import os
import platform
import resource
import time
import traceback
from collections.abc import Callable
from datetime import UTC, datetime
from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import Any, cast

import torch

from lth_bench.errors import DataError, DiskFault, Diverged, FileFault, Interrupted, ModelError, Unsuitable
from lth_bench.experiments.experiment import Experiment, from_json
from lth_bench.methods.controls import Base
from lth_bench.pruning.doctor import complaints, looked_at, sensitivities
from lth_bench.pruning.tickets import Ticket, read_ticket
from lth_bench.running.context import Context, instance
from lth_bench.running.evaluation import judge
from lth_bench.running.outcomes import InvalidResult, hand_over, outcome, take
from lth_bench.running.transfer import fitted
from lth_bench.storage.files import remove
from lth_bench.storage.records import outcome_path, read_record, record_path, ticket_path
from lth_bench.storage.source_hash import file_hash
from lth_bench.training.ledger import Spent
from lth_bench.training.session import Session

LONGEST = 20_000  # characters of a message or a traceback in a record
OUT_OF_MEMORY = (
    "can't allocate memory",
    "Cannot allocate memory",
    "out of memory",
    "not enough memory",
    "STATUS_ALLOC_FAILED",
)

Fields = dict[str, Any]


class NoTicket(Exception):
    """A control whose base has no ticket."""


KINDS: dict[type[BaseException], str] = {
    InvalidResult: "invalid",
    NoTicket: "no_ticket",
    Unsuitable: "unsuitable",
    DataError: "data",
    ModelError: "model",
}


def run(identity: Fields, directory: Path, context: Context) -> Fields:
    """Trains and evaluates in this process; returns the record, not yet written."""
    trained = train(identity, directory, context, Spent())
    return (
        evaluate(identity, trained, directory, context) if trained["status"] == "trained" else {**identity, **trained}
    )


def train(identity: Fields, directory: Path, context: Context, spent: Spent, generation: int = 1) -> Fields:
    """Runs the pruner and hands its outcome over to `evaluate`: status "trained", or what went wrong.

    Adds to what was spent on earlier tries; `generation` tells this try from others that may still be under way.
    Raises Interrupted and DiskFault, which are not the pruner's doing.
    """
    experiment = from_json(identity["experiment"])

    def work() -> Fields:
        session = context.session(experiment)
        try:
            pruner = _pruner(experiment, directory, session, context)
            with session.metered():
                pruner(session)
            path = outcome_path(directory, identity["key"], generation)
            return {"status": "trained", "handed": hand_over(path, outcome(session))}
        except BaseException:
            session.check_ended()
            raise
        finally:
            spent.add(session.spent)

    fields = _guarded(work)
    about = {} if fields["status"] == "trained" else _about(experiment, context)
    environment = _environment(experiment, context)
    timing = {**fields["timing"], **vars(spent), "peak_memory": _peak_memory(context)}
    return {**about, **fields, "environment": environment, "timing": timing}


def evaluate(identity: Fields, trained: Fields, directory: Path, context: Context, generation: int = 1) -> Fields:
    """The record of an experiment that was trained, not yet written."""
    experiment = from_json(identity["experiment"])
    path = outcome_path(directory, identity["key"], generation)

    def work() -> Fields:
        try:
            made = take(path, trained["handed"])
        except FileFault as error:
            return failure("lost", f"what training left behind is gone: {error}")
        return {"status": "done", **judge(experiment, made, directory, context)}

    fields = _guarded(work)
    remove(path)
    timing = {**trained["timing"], **({"latency": fields.pop("latency")} if "latency" in fields else {})}
    seconds = timing["seconds"] + fields["timing"]["seconds"]
    return {
        **identity,
        **_about(experiment, context),
        **fields,
        "environment": trained["environment"],
        "timing": {**timing, "seconds": seconds},
    }


def failure(kind: str, message: str, trace: str = "") -> Fields:
    """The fields of a record that say why an experiment failed."""
    error = {"kind": kind, "message": _text(message)[:LONGEST], "traceback": _text(trace)[-LONGEST:]}
    return {"status": "failed", "error": error}


def _guarded(work: Callable[[], Fields]) -> Fields:
    """What some work gives, or the failure that it ends in; with its timing."""
    started, clock = datetime.now(UTC), time.perf_counter()
    try:
        fields = work()
    except (Interrupted, DiskFault):
        raise
    except Diverged as error:
        fields = {"status": "diverged", "error": {"kind": "diverged", "message": _text(str(error)), "step": error.step}}
    except BaseException as error:
        fields = failure(_kind(error), _words(error), "".join(traceback.format_exception(error)))
        fields["error"]["exception"] = type(error).__name__
    return {
        **fields,
        "timing": {"started": started.isoformat(timespec="seconds"), "seconds": time.perf_counter() - clock},
    }


def _kind(error: BaseException) -> str:
    if isinstance(error, (MemoryError, torch.OutOfMemoryError)) or (
        isinstance(error, (RuntimeError, OSError)) and any(words in _words(error) for words in OUT_OF_MEMORY)
    ):
        return "oom"
    return KINDS.get(type(error), "plugin_error")


def _words(error: BaseException) -> str:
    """What an exception says; one of a plugin may fail even at that."""
    try:
        return str(error)
    except Exception:
        return "it cannot say what is wrong"


def _text(text: str) -> str:
    """A text that UTF-8 can hold."""
    return text.encode("utf-8", "backslashreplace").decode()


def _pruner(experiment: Experiment, directory: Path, session: Session, context: Context) -> Callable[[Session], None]:
    """What drives the Session: the experiment's pruner, or its control from the ticket of its base."""
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
        if record["status"] != "done":
            raise NoTicket(f"the control needs the ticket of experiment {key}, which {record['status']}")
        return read_ticket(ticket_path(directory, key), record["ticket"]["sha256"])
    except FileFault as error:
        raise NoTicket(f"the control needs the ticket of experiment {key}: {error}") from error


def _about(experiment: Experiment, context: Context) -> Fields:
    """What a record says of its data and of its model, so far as it can be said."""
    try:
        return {"data": {"training": context.read(experiment.dataset).digest}, "unfit": _unfit(experiment, context)}
    except Exception:  # the record says already what is wrong with them
        return {}


def _unfit(experiment: Experiment, context: Context) -> list[str]:
    """What the doctor holds against an experiment's network, with the initial weights of seed 0."""
    network = context.network(experiment, 0)
    batch = looked_at(context.training(experiment.dataset)[0])
    try:
        scores = sensitivities(network, context.prunable(experiment, network), batch)
        return complaints(network, scores, batch)
    except Exception as error:  # a network that trains is not to fail for this
        return [f"it could not be examined ({type(error).__name__}: {_text(_words(error))[:200]})"]


def _peak_memory(context: Context) -> int:
    """The most bytes that training held: on the GPU where there is one, else of this whole process."""
    if context.device.type == "cuda":
        return torch.cuda.max_memory_allocated(context.device)
    most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return most if platform.system() == "Darwin" else 1024 * most


def _environment(experiment: Experiment, context: Context) -> Fields:
    chosen = {"pruner": (context.plugins.pruners, experiment.pruner.name)}
    if experiment.control:
        chosen["control"] = (context.plugins.controls, experiment.control.name)
    gpu = torch.cuda.get_device_name(context.device) if context.device.type == "cuda" else None
    return {
        "python": platform.python_version(),
        **{package: version(package) for package in ("lth-bench", "torch", "timm", "numpy")},
        "system": f"{platform.system()} {platform.machine()}",
        "device": gpu or context.device.type,
        "threads": torch.get_num_threads(),
        "processors": os.cpu_count(),
        "plugins": {
            kind: {**dataclasses.asdict(registry.sources[name]), "sha256": file_hash(registry[name])}
            for kind, (registry, name) in chosen.items()
        },
    }
