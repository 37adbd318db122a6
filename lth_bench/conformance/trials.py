"""Trials: one pruner on one small network, run as every experiment is run, with a watched Session."""

from __future__ import annotations

import dataclasses
import random
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch

from lth_bench.conformance.overheard import overheard
from lth_bench.conformance.specimens import DATASET, MODELS, RECIPE, Specimen
from lth_bench.conformance.traces import undone
from lth_bench.conformance.watched import Watcher
from lth_bench.experiments.experiment import Choice, Experiment, Planned
from lth_bench.experiments.patterns import parsed
from lth_bench.experiments.plugins import Plugins, Provider, Registry
from lth_bench.pruning.tickets import Ticket, read_ticket
from lth_bench.running.context import Context
from lth_bench.running.run import run
from lth_bench.storage.record import Record, identity
from lth_bench.storage.records import ticket_path
from lth_bench.storage.store import Store
from lth_bench.training.session import Session

NAME = "conformance"
OURS = Provider(NAME, __name__, "lth-bench", "")
NOISE = 271_828  # a seed unlikely to be anybody else's


@dataclass(frozen=True)
class Run:
    """The result of a pruner on a network: its record, the folder of its ticket, and the end of what it printed."""

    specimen: Specimen
    record: Record
    directory: Path
    printed: str

    @property
    def unsuitable(self) -> str | None:
        """The pruner's own reason why this network does not suit it."""
        error = self.record.error
        return error.message if error and error.kind == "unsuitable" else None

    @property
    def failure(self) -> str | None:
        """Why there is no result."""
        if (error := self.record.error) is None:
            return None
        words = error.words if error.exception else f"{error.kind}: {error.message}"
        return f"{words}; it printed at last: {self.printed}" if self.printed else words

    @property
    def ticket(self) -> Ticket:
        assert self.record.ticket is not None
        return read_ticket(ticket_path(self.directory, self.record.key), self.record.ticket.sha256)


@dataclass(frozen=True)
class Trial(Run):
    """A run whose Session was watched."""

    watcher: Watcher

    @property
    def session(self) -> Session:
        return self.watcher.session


@dataclass
class Laboratory(Context):
    """A Context whose Sessions are watched, unless there is a store."""

    watchers: list[Watcher] = field(default_factory=list)
    watching: ExitStack = field(default_factory=ExitStack)

    def session(self, experiment: Experiment) -> Session:
        if self.store:
            return super().session(experiment)
        watcher = Watcher()
        session = Session(dataclasses.replace(self.setup(experiment), observer=watcher))
        self.watching.enter_context(watcher.watching())
        self.watchers.append(watcher)
        return session


@dataclass(frozen=True)
class Bench:
    """The bench for one pruner, with the networks and the data of this package; runs write into `directory`.

    A given `sparsity` replaces that of each network, and a `pattern` such as "2:4" either.
    """

    plugins: Plugins
    pruner: Choice
    directory: Path
    sparsity: float | None = None
    pattern: str = ""

    def trial(self, specimen: Specimen, seed: int = 0) -> Trial:
        """A run whose Session is watched."""
        context = self._site(None)
        with context.watching:
            result = self._run(context, specimen, seed, "watched")
        return Trial(result.specimen, result.record, result.directory, result.printed, context.watchers[0])

    def repeated(self, specimen: Specimen, folder: str) -> Run:
        """The same run with other global random states; its training is looked up, or stored for the next run."""
        context = self._site(Store(self.directory / "store"))
        return self._run(context, specimen, 0, folder, noise=1)

    def _site(self, store: Store | None) -> Laboratory:
        return Laboratory(_with_ours(self.plugins), None, torch.device("cpu"), store)

    def _run(self, context: Context, specimen: Specimen, seed: int, folder: str, noise: int = 0) -> Run:
        sparsity = specimen.sparsity if self.sparsity is None else self.sparsity
        sparsity = parsed(self.pattern).sparsity if self.pattern else sparsity
        data, model = Choice(NAME), specimen.choice
        experiment = Experiment(data, model, RECIPE, self.pruner, sparsity, seed, pattern=self.pattern)
        directory = self.directory / folder
        with apart(noise), overheard() as output:
            record = run(identity(NAME, Planned(experiment, self.pruner.name, NAME, False)), directory, context)
        if record.error and record.error.exception == "KeyboardInterrupt":
            raise KeyboardInterrupt
        return Run(specimen, record, directory, " ".join(output.text.split()))


def _with_ours(plugins: Plugins) -> Plugins:
    """The plugins with the models and the data set of this package, and no other data set."""
    models = Registry("models", dict(plugins.models.items), dict(plugins.models.providers))
    datasets = Registry("datasets")
    for name, function in MODELS.items():
        models.add(name, function, OURS)
    datasets.add(NAME, DATASET, OURS)
    return dataclasses.replace(plugins, models=models, datasets=datasets)


@contextmanager
def apart(noise: int) -> Iterator[None]:
    """Inside, one thread and, for each `noise`, other global random states; on leaving, everything is restored."""
    states = random.getstate(), np.random.get_state()
    try:
        with undone(), torch.random.fork_rng(devices=[]):
            torch.set_num_threads(1)
            random.seed(NOISE + noise)
            np.random.seed(NOISE + noise)
            torch.default_generator.manual_seed(NOISE + noise)
            yield
    finally:
        random.setstate(states[0])
        np.random.set_state(states[1])
