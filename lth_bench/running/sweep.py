"""Runs what is missing from a run directory, in worker processes that are looked after from here."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from lth_bench.running.limits import Limits
from lth_bench.running.messages import Settings
from lth_bench.running.queue import Queue
from lth_bench.storage.record import Identity
from lth_bench.storage.store import Store

POLL = 0.2


@dataclass(frozen=True)
class Sweep:
    """A run directory and how to work on it; without a store, shared training is not shared.

    `loaders` processes for each worker read images ahead that are not held in memory.
    """

    directory: Path
    data_root: Path | None
    device: str
    store: Path | None = None
    limits: Limits = field(default_factory=Limits)
    loaders: int = 0

    def queue(self, identities: list[Identity]) -> Queue:
        """The queue of these experiments."""
        store = Store(self.store, self.limits.patience) if self.store else None
        return Queue(self.directory, identities, store, self.limits.patience)

    def settings(self) -> Settings:
        """What a worker process has to know."""
        return Settings(
            directory=str(self.directory),
            data=None if self.data_root is None else str(self.data_root),
            device=self.device,
            store=None if self.store is None else str(self.store),
            limits=self.limits,
            loaders=self.loaders,
        )
