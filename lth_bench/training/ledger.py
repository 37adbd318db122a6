"""The work of an experiment as events, from which every cost can be computed."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(slots=True)
class Event:
    """Work done: `steps` ticks of the clock from `step` on, on `examples` examples in all.

    `kind` is "train" (forward, backward, update), "dense_gradients" (the same with gradients of pruned weights too) or
    "score" (everything computed while the clock stands still). `kept` counts the weights kept by layer meanwhile.
    Scoring is measured: `flops` were computed, `sparse_flops` of them for kept weights.
    """

    kind: str
    step: int
    steps: int
    examples: int
    kept: tuple[int, ...]
    flops: int = 0
    sparse_flops: int = 0


@dataclass
class Spent:
    """The real cost of an experiment: steps computed for it, and steps of training looked up."""

    steps_computed: int = 0
    steps_looked_up: int = 0

    def add(self, more: Spent) -> None:
        self.steps_computed += more.steps_computed
        self.steps_looked_up += more.steps_looked_up


class Ledger:
    """The events of an experiment; an event that continues the last one extends it."""

    def __init__(self) -> None:
        self.events: list[Event] = []

    def charge(
        self, kind: str, step: int, steps: int, examples: int, kept: tuple[int, ...], flops: int = 0, sparse: int = 0
    ) -> None:
        last = self.events[-1] if self.events else None
        if last and last.step + last.steps == step and last.kind == kind and last.kept == kept:
            last.steps += steps
            last.examples += examples
            last.flops += flops
            last.sparse_flops += sparse
        else:
            self.events.append(Event(kind, step, steps, examples, kept, flops, sparse))
