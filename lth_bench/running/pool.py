"""The worker processes of a sweep."""

from __future__ import annotations

from lth_bench.errors import FileFault
from lth_bench.machine import processors
from lth_bench.running.messages import Message
from lth_bench.running.processes import Died, Process
from lth_bench.running.queue import Identity
from lth_bench.running.sweep import POLL, Sweep


class WorkerPool:
    """Workers for experiments: as many as are wanted or, by default, as there is room for; they start at once."""

    def __init__(self, sweep: Sweep, experiments: int, wanted: int | None = None) -> None:
        self.wanted = wanted
        self.processes = [Process(sweep.settings()) for _ in range(min(wanted or processors(), experiments))]

    def check(self, identities: list[Identity]) -> list[str]:
        """What is wrong with experiments before any is started; of the workers, those stay that there is room for."""
        found = self._checked(identities)
        if self.wanted is None:
            self._keep(found["room"])
        faults: list[str] = found["faults"]
        return faults

    def dismiss(self) -> None:
        self._keep(0)

    def _keep(self, count: int) -> None:
        for process in self.processes[count:]:
            process.kill()
        del self.processes[count:]

    def _checked(self, identities: list[Identity]) -> Message:
        first = self.processes[0]
        for process in self.processes:
            process.ask({"identity": identities[0]})  # they read its data at the same time
        experiments = [identity["experiment"] for identity in identities]
        first.ask({"task": "check", "experiments": experiments, "room": self.wanted is None})
        found: Message | None = None
        try:
            while True:
                message = first.answer(POLL) or {}
                if message.get("status") == "fault":
                    raise FileFault(message["message"])
                found = message if "faults" in message else found
                if found and ("idle" in message or found["faults"]):
                    return found
                if "idle" in message:
                    raise Died(message["idle"])
        except Died as error:
            what = f"the experiments could not be checked: {error}\n{first.printed()}"
            raise FileFault(what) from error
