"""What tables rest on: versions and machines, the work behind them, and what is left out."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import NamedTuple

from lth_bench.errors import Damaged, FileFault

ENVIRONMENT = ("lth-bench", "python", "torch", "timm", "device", "threads", "system")


class Trouble(NamedTuple):
    """A record that is not done, or a file that is left out of the tables; the kind of its error and its words."""

    key: str
    label: str
    status: str
    kind: str
    message: str


LEFT_OUT = ("damaged", "unreadable")


@dataclass
class Evidence:
    """What a table rests on: suites, versions and machines, steps of training, seconds in workers, and troubles."""

    suites: set[str] = field(default_factory=set)
    environment: dict[str, Counter[str]] = field(default_factory=lambda: {name: Counter() for name in ENVIRONMENT})
    computed: int = 0
    charged: int = 0
    seconds: float = 0.0
    troubles: list[Trouble] = field(default_factory=list)

    def leave_out(self, key: str, label: str, fault: FileFault) -> None:
        """Notes a file that cannot be used, which tables are made without."""
        state = LEFT_OUT[not isinstance(fault, Damaged)]
        self.troubles.append(Trouble(key, label, state, "", str(fault)))

    @property
    def left_out(self) -> list[Trouble]:
        """The files that the tables are made without."""
        return [trouble for trouble in self.troubles if trouble.status in LEFT_OUT]

    def include(self, more: Evidence) -> None:
        self.suites |= more.suites
        for name, counts in more.environment.items():
            self.environment[name] += counts
        self.computed += more.computed
        self.charged += more.charged
        self.seconds += more.seconds
        self.troubles += more.troubles
