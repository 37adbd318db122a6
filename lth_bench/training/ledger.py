"""The work of an experiment as events, from which every cost can be computed."""

from __future__ import annotations

from dataclasses import dataclass

EXTRA = "extra"


@dataclass(slots=True)
class Event:
    """Work done: `steps` ticks of the clock from `step` on, on `examples` examples in all.

    `kind` is "train" (forward, backward, update), "dense_gradients" (the same with gradients of pruned weights too),
    "score" (everything computed while the clock stands still), "extra" (in loops over batches, everything beside
    those) or "recalibration" (forward passes for the statistics of batch norms). `kept` counts the weights kept by
    layer meanwhile. Scoring and extra work are measured: `flops` were computed, `sparse_flops` of them for kept
    weights.
    """

    kind: str
    step: int
    steps: int
    examples: int
    kept: tuple[int, ...]
    flops: int = 0
    sparse_flops: int = 0

    def continued_by(self, more: Event) -> bool:
        follows = self.kind == EXTRA or self.step + self.steps == more.step
        return follows and (self.kind, self.kept) == (more.kind, more.kept)

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
    """The events of an experiment; ticks of one kind are one event, and the extra work beside them another."""

    def __init__(self) -> None:
        self.events: list[Event] = []

    def charge(self, event: Event) -> None:
        """Extends the event that this one continues, or adds it."""
        for last in reversed(self.events[-2:]):
            if last.continued_by(event):
                last.extend(event)
                return
            if (last.kind == EXTRA) == (event.kind == EXTRA):
                break
        self.events.append(event)
