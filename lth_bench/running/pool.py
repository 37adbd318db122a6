"""The worker processes of a sweep."""

from __future__ import annotations

from lth_bench.errors import FileFault
from lth_bench.machine import processors
from lth_bench.running.messages import CannotGoOn, Check, Checked, Idle, MakeReady
from lth_bench.running.processes import Died
from lth_bench.running.sweep import POLL, Sweep
from lth_bench.storage.record import Identity

CHECKS = 3  # workers that check experiments one after the other, if the system or a person kills them


class WorkerPool:
    """Worker processes, which start at once: `workers` of them, or by default as many as there is room for."""

    def __init__(self, sweep: Sweep, experiments: int, workers: int | None = None) -> None:
        self.workers, self._sweep = workers, sweep
        self.processes = [sweep.worker() for _ in range(min(workers or processors(), experiments))]

    def check(self, identities: list[Identity]) -> list[str]:
        """The faults of experiments, before any starts; by default, workers without room are dismissed."""
        checked = self._checked(identities)
        if self.workers is None:
            self._keep(checked.room)
        return checked.faults

    def dismiss(self) -> None:
        """Ends the workers, and the fork server that they come from."""
        self._keep(0)
        self._sweep.server.stop()

    def _keep(self, count: int) -> None:
        for process in self.processes[count:]:
            process.kill()
        del self.processes[count:]

    def _checked(self, identities: list[Identity]) -> Checked:
        for process in self.processes:
            process.ask(MakeReady(identities[0]))  # they read its data at the same time
        spare = CHECKS - 1
        while True:
            try:
                return self._answer(identities)
            except Died as error:
                if not (error.killed and spare):
                    printed = self.processes[0].printed()
                    raise FileFault(f"the experiments could not be checked: {error}\n{printed}") from error
                self.processes[0].kill()
                self.processes[0] = self._sweep.worker()
                spare -= 1

    def _answer(self, identities: list[Identity]) -> Checked:
        """The first worker's findings. Raises Died."""
        first = self.processes[0]
        first.ask(_check(identities, room=self.workers is None))
        checked: Checked | None = None
        while True:
            message = first.answer(POLL)
            if isinstance(message, CannotGoOn):
                raise FileFault(message.message)
            checked = message if isinstance(message, Checked) else checked
            if checked and (isinstance(message, Idle) or checked.faults):
                return checked
            if isinstance(message, Idle):
                raise Died(message.code)


def _check(identities: list[Identity], *, room: bool) -> Check:
    """What asks for the faults of experiments, or of what analyses of them need."""
    finished = all(identity.analysis is not None for identity in identities)
    return Check([identity.experiment for identity in identities], room, finished)
