"""First calls of pruners: each runs up to its first pass or tick before a run, to hear whether it is unsuitable."""

from __future__ import annotations

import dataclasses
import os
import select
import signal
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress

import torch

from lth_bench.errors import Interrupted, Unsuitable
from lth_bench.experiments.choices import titled
from lth_bench.experiments.experiment import Experiment
from lth_bench.experiments.plugins import Plugins
from lth_bench.running.context import Context, instance
from lth_bench.training.session import Session

SECONDS = 5.0  # for the first calls of a run together; what is not heard by then, the run itself will tell


class _Computes(Interrupted):
    """The pruner has reached its first pass or tick."""


def unsuitable(experiments: Iterable[Experiment], context: Context) -> Iterator[str]:
    """A sentence for every pruner that finds itself unsuitable for its network, data or sparsity before it computes.

    Every call has a process of its own, on the CPU: whatever else a pruner does there is left to the run.
    """
    context = dataclasses.replace(context, device=torch.device("cpu"), store=None, _placed={})
    until = time.monotonic() + SECONDS
    refused: dict[tuple[str, str], list[float | str]] = {}
    for experiment in _distinct(experiments):
        seconds = until - time.monotonic()
        if seconds > 0 and (reason := _told(lambda: _reason(experiment, context), seconds)):  # noqa: B023 - called now
            target = experiment.pattern or experiment.sparsity
            refused.setdefault((_place(experiment, context.plugins), reason), []).append(target)
    for (place, reason), targets in refused.items():
        yield f"pruners: {place}, sparsity {', '.join(map(str, targets))}: {reason}"


def _distinct(experiments: Iterable[Experiment]) -> Iterable[Experiment]:
    """One experiment for all seeds; controls need tickets, which are not there yet."""
    plain = [experiment for experiment in experiments if experiment.control is None]
    return {dataclasses.replace(experiment, seed=0).key: experiment for experiment in plain}.values()


def _place(experiment: Experiment, plugins: Plugins) -> str:
    pruner = titled(plugins.pruners, experiment.pruner)
    return f"{pruner} for {titled(plugins.models, experiment.model)} on {titled(plugins.datasets, experiment.dataset)}"


def _reason(experiment: Experiment, context: Context) -> str:
    """Why the pruner is unsuitable, if it says so before it computes anything."""
    setup = dataclasses.replace(context.setup(experiment), memory=None, progress=_stop)
    try:
        instance(context.plugins.pruners, experiment.pruner)(Session(setup))
    except Unsuitable as error:
        return str(error)
    except _Computes:
        pass
    return ""


def _stop() -> None:
    raise _Computes


def _told(call: Callable[[], str], seconds: float) -> str:
    """The result of a call in a child process without output; empty if it fails or takes longer."""
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        _answer(call, writing)
    os.close(writing)
    try:
        return _received(reading, time.monotonic() + seconds)
    finally:
        os.close(reading)
        with suppress(ProcessLookupError):
            os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)


def _answer(call: Callable[[], str], writing: int) -> None:
    """Writes the result of a call, and ends the process."""
    with suppress(BaseException):
        sys.stdout = sys.stderr = os.fdopen(os.open(os.devnull, os.O_WRONLY), "w")
        os.dup2(sys.stdout.fileno(), 1)
        os.dup2(sys.stdout.fileno(), 2)
        os.write(writing, call().encode("utf-8", "backslashreplace"))
    os._exit(0)


def _received(reading: int, until: float) -> str:
    """What is written into a pipe until it closes; empty if it does not close in time."""
    parts: list[bytes] = []
    while select.select([reading], [], [], max(0.0, until - time.monotonic()))[0]:
        if not (part := os.read(reading, 65536)):
            return b"".join(parts).decode()
        parts.append(part)
    return ""
