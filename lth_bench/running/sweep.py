"""A run directory and the settings of the workers that fill it."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from lth_bench.experiments.experiment import Choice
from lth_bench.running.code import Fingerprint
from lth_bench.running.limits import Limits
from lth_bench.running.messages import Settings
from lth_bench.running.processes import ForkServer, Process
from lth_bench.running.queue import Queue
from lth_bench.storage.record import Identity
from lth_bench.storage.records import plugin_folder
from lth_bench.storage.store import Store

POLL = 0.2


@dataclass(frozen=True)
class Sweep:
    """A run directory and how to work on it. Without a store, experiments share no training.

    Each worker has `loaders` processes that read ahead images that memory does not hold. Workers that find other code
    than `code` do not begin. `weights` are files that models start from, by what identifies them. `observers` are told
    of experiments. All workers come from `server`. They load the plugins that are single files in `plugins`, by default
    those of the run directory.
    """

    directory: Path
    data_root: Path | None
    device: str
    store: Path | None = None
    limits: Limits = field(default_factory=Limits)
    loaders: int = 0
    code: list[Fingerprint] = field(default_factory=list)
    weights: dict[str, Path] = field(default_factory=dict)
    observers: tuple[Choice, ...] = ()
    server: ForkServer = field(default_factory=ForkServer)
    plugins: Path | None = None

    def queue(self, identities: list[Identity]) -> Queue:
        """The queue of these experiments."""
        store = Store(self.store, self.limits.patience) if self.store else None
        return Queue(self.directory, identities, store, self.limits.patience)

    def worker(self) -> Process:
        """A new worker process."""
        return Process(self.settings(), self.server)

    def settings(self) -> Settings:
        """The settings of its worker processes."""
        return Settings(
            directory=str(self.directory),
            data=None if self.data_root is None else str(self.data_root),
            device=self.device,
            store=None if self.store is None else str(self.store),
            limits=self.limits,
            loaders=self.loaders,
            plugins=str(self.plugins or plugin_folder(self.directory)),
            code=self.code,
            weights={digest: str(path) for digest, path in self.weights.items()},
            observed=bool(self.observers),
        )
