"""Analyses of a third party: one that works, one on pairs, and some that misbehave."""

from __future__ import annotations

import os
import signal
from dataclasses import dataclass
from pathlib import Path

from lth_bench import Unsuitable, hookimpl


@dataclass(frozen=True)
class Largest:
    """The largest weight of a ticket, by layer."""

    power: int = 1

    title = "Largest weights"
    question = "How large is the largest weight?"
    caption = "The largest weight of each layer, to a power"

    def __call__(self, study):
        if study.experiment.sparsity == 0:
            raise Unsuitable("dense networks are not looked at")
        for name, mask in study.ticket.masks.items():
            yield {"layer": name, "largest": study.ticket.final[name][mask].abs().max() ** self.power}

    def figure(self, rows, canvas):
        figure, (axes,) = canvas.panels(["all"], canvas.ordered(set(rows["method"])))
        axes.plot(rows["sparsity"], rows["largest"])
        return figure


@dataclass(frozen=True)
class Pairs:
    """Whether two tickets were asked for one sparsity."""

    reads_ticket = False
    reads_data = False

    def __call__(self, study):
        for peer in study.peers:
            yield {"other": peer.key, "same": peer.experiment.sparsity == study.experiment.sparsity}


@dataclass(frozen=True)
class Trains:
    """The end of two trainings that differ in their order; waits once for `gate`, if that is named."""

    gate: str = ""

    def __call__(self, study):
        for order in (0, 1):
            session = study.session(order=order)
            session.train()
            if order and self.gate and not Path(self.gate).exists():
                Path(self.gate).write_text(str(os.getpid()))
                os.kill(os.getpid(), signal.SIGKILL)
            yield {"order": order, **vars(study.test(session.snapshot().state))}


@dataclass(frozen=True)
class Wrong:
    """Misbehaves as `how` says."""

    how: str = "raises"

    def __call__(self, study):
        yield {
            "raises": lambda: 1 / 0,
            "reserved": lambda: {"seed": 1},
            "several": lambda: {"values": [1, 2]},
            "infinite": lambda: {"value": float("inf")},
            "text": lambda: "row",
            "table": lambda: {"value": 1.0},
        }[self.how]()

    def table(self, rows):
        raise RuntimeError("no table")

    def figure(self, rows, canvas):
        raise RuntimeError("no figure")


@hookimpl
def register_analyses(register):
    register("largest", Largest)
    register("pairs", Pairs)
    register("trains", Trains)
    register("wrong", Wrong)
