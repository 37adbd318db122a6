"""The work of an experiment as events, from which every cost can be computed."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

EXTRA = "extra"


@dataclass(slots=True)
class Event:
    """Work done: `steps` ticks of the clock from `step` on, on `examples` examples in all.

    `kind` is "train" (forward, backward, update), "dense_gradients" (the same with gradients of pruned weights too),
    "score" (everything computed while the clock stands still), "extra" (in loops over batches, everything beside
    those) or "recalibration" (forward passes for the statistics of batch norms). `kept` counts the weights kept by
    layer meanwhile, `gradients` those whose gradients ticks computed, where these are others. Scoring and extra work
    are measured: `flops` were computed, `sparse_flops` of them for kept weights.
    """

    kind: str
    step: int
    steps: int
    examples: int
    kept: tuple[int, ...]
    flops: int = 0
    sparse_flops: int = 0
    gradients: tuple[int, ...] | None = None

    def continued_by(self, more: Event) -> bool:
        follows = self.kind == EXTRA or self.step + self.steps == more.step
        mine, others = ((event.kind, event.kept, event.gradients) for event in (self, more))
        return follows and mine == others

    def extend(self, more: Event) -> None:
        self.steps += more.steps
        self.examples += more.examples
        self.flops += more.flops
        self.sparse_flops += more.sparse_flops


@dataclass
class Spent:
    """The real cost of an experiment: steps computed for it, and steps of training looked up."""

    steps_computed: int = 0
    steps_looked_up: int = 0

    def add(self, more: Spent) -> None:
        self.steps_computed += more.steps_computed
        self.steps_looked_up += more.steps_looked_up


class Ledger:
    """The events of an experiment; consecutive ticks of one kind are one event.

    Extra work under the same masks is one event too, whatever ticks it lies between.
    """

    def __init__(self) -> None:
        self.events: list[Event] = []
        self._last: dict[bool, Event] = {}

    def charge(self, event: Event) -> None:
        """Extends the event that this one continues, or adds it."""
        beside = event.kind == EXTRA
        if (last := self._last.get(beside)) and last.continued_by(event):
            last.extend(event)
        else:
            self.events.append(event)
            self._last[beside] = event

    @contextmanager
    def aside(self) -> Iterator[None]:
        """Inside, nothing is charged in the end."""
        outer = self.events, self._last
        self.events, self._last = [], {}
        try:
            yield
        finally:
            self.events, self._last = outer
