"""What was done, so that every cost can be computed from it."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(slots=True)
class Event:
    """Work done: `steps` ticks of the clock from `step` on, on `examples` examples in all.

    `kind` is "train" (forward, backward, update), "dense_gradients" (the same with gradients of pruned weights too) or
    "score" (whatever is computed while the clock stands still); `kept` are the weights kept by layer meanwhile. What
    scoring costs is measured: `flops` as it was computed, `sparse_flops` of it for kept weights alone.
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
    """What an experiment really cost: steps that were computed for it, and steps of training that were looked up."""

    steps_computed: int = 0
    steps_looked_up: int = 0

    def add(self, more: Spent) -> None:
        self.steps_computed += more.steps_computed
        self.steps_looked_up += more.steps_looked_up


class Ledger:
    """The events of an experiment; one that goes on where the last one ends makes it longer."""

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
