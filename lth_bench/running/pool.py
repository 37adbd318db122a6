"""The worker processes of a sweep."""

from __future__ import annotations

from lth_bench.errors import FileFault
from lth_bench.machine import processors
from lth_bench.running.messages import CannotWrite, Check, Checked, Idle, MakeReady
from lth_bench.running.processes import Died, Process
from lth_bench.running.sweep import POLL, Sweep
from lth_bench.storage.record import Identity


class WorkerPool:
    """Worker processes, which start at once: `workers` of them, or by default as many as there is room for."""

    def __init__(self, sweep: Sweep, experiments: int, workers: int | None = None) -> None:
        self.workers = workers
        self.processes = [Process(sweep.settings()) for _ in range(min(workers or processors(), experiments))]

    def check(self, identities: list[Identity]) -> list[str]:
        """The faults of experiments, before any starts; by default, workers without room are dismissed."""
        checked = self._checked(identities)
        if self.workers is None:
            self._keep(checked.room)
        return checked.faults

    def dismiss(self) -> None:
        self._keep(0)

    def _keep(self, count: int) -> None:
        for process in self.processes[count:]:
            process.kill()
        del self.processes[count:]

    def _checked(self, identities: list[Identity]) -> Checked:
        first = self.processes[0]
        for process in self.processes:
            process.ask(MakeReady(identities[0]))  # they read its data at the same time
        first.ask(Check([identity.experiment for identity in identities], room=self.workers is None))
        checked: Checked | None = None
        try:
            while True:
                message = first.answer(POLL)
                if isinstance(message, CannotWrite):
                    raise FileFault(message.message)
                checked = message if isinstance(message, Checked) else checked
                if checked and (isinstance(message, Idle) or checked.faults):
                    return checked
                if isinstance(message, Idle):
                    raise Died(message.code)
        except Died as error:
            raise FileFault(f"the experiments could not be checked: {error}\n{first.printed()}") from error
