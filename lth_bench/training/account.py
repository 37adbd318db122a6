"""The account of a Session: every tick, pass and product that the experiment is charged for."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Any, TypeVar

from torch import Tensor

from lth_bench.errors import SessionError
from lth_bench.training.clock import Clock
from lth_bench.training.ledger import EXTRA, Event, Ledger, Spent
from lth_bench.training.metering import PausableMeter
from lth_bench.training.topology import Topology, Used

T = TypeVar("T")


class Account:
    """Knows what is open in a Session, and writes its ledger; `progress` is called at every tick and pass.

    `loop_open` holds inside a loop over batches, `tick_open` from a batch to its update, `scoring` inside `scoring()`;
    `loss` is the last training loss of the tick.
    """

    def __init__(self, clock: Clock, topology: Topology, progress: Callable[[], None]) -> None:
        self.ledger, self.spent = Ledger(), Spent()
        self.loop_open = self.tick_open = self.scoring = False
        self._clock, self._topology, self._progress = clock, topology, progress
        self.loss: Tensor | None = None
        self._examples, self._kind, self._used = 0, "train", Used(topology.kept)
        self._meter = PausableMeter(lambda: topology.weights, self._charge_flops)

    def open_tick(self) -> None:
        """Starts a tick; its passes are charged with the masks at its start."""
        self.tick_open, self.loss, self._examples = True, None, 0
        self._kind, self._used = "train", self._topology.used

    def own_pass(self, call: Callable[..., T], *arguments: Any) -> T:
        """The result of the network's own pass: in a tick, neither it nor its first backward pass is extra work."""
        if self.scoring or not self.tick_open:
            return call(*arguments)
        return self._meter.own_pass(call, *arguments)

    def passed(self, examples: int) -> None:
        """Charges a training pass of `examples` examples."""
        self._progress()
        if self.scoring or not self.tick_open:
            self.ledger.charge(Event(self._untimed, self._clock.step, 0, examples, self._topology.kept))
        else:
            self._examples += examples

    def charge_dense(self) -> None:
        """Charges the passes of this tick with the gradients of pruned weights too."""
        if not self.scoring:
            self._kind = "dense_gradients"

    def close_tick(self) -> None:
        """Charges the tick as one step."""
        self.tick_open = False
        if not self._examples:  # a pass has reported progress already
            self._progress()
        self.spent.steps_computed += 1
        self._charge_tick(steps=1)

    def abandon_tick(self) -> None:
        """Charges the passes of a tick that ended without an update; they count as no step."""
        if self.tick_open and self._examples:
            self._charge_tick(steps=0)
        self.tick_open, self.loss = False, None

    def recalibrated(self, examples: int) -> None:
        """Charges a forward pass of `examples` examples for the statistics of batch norms."""
        self._progress()
        self.ledger.charge(Event("recalibration", self._clock.step, 0, examples, self._topology.kept))

    def trained(self, start: int) -> None:
        """Charges plain training from step `start` up to now, as if every tick of it had been computed here."""
        steps = self._clock.step - start
        examples = steps * self._clock.recipe.batch_size
        self.ledger.charge(Event("train", start, steps, examples, self._topology.kept))

    def metered(self) -> AbstractContextManager[None]:
        """Inside, everything computed outside ticks is measured in FLOPs and charged as scoring."""
        return self._meter.on()

    @property
    def extra(self) -> AbstractContextManager[None]:
        """Inside, everything computed beside the passes of the tick is measured in FLOPs, and charged as extra work."""
        return self._meter

    def unmetered(self) -> AbstractContextManager[None]:
        """Inside, nothing is measured: the harness computes for itself, not for the method."""
        return self._meter.paused()

    def in_tick(self, name: str, call: Callable[[], None]) -> None:
        """Makes a call as inside `unmetered()`. Raises SessionError outside a tick, and inside `scoring()`."""
        self.require_tick(name)
        self._meter.silently(call)

    @property
    def hears(self) -> bool:
        """Whether what this thread computes now is measured."""
        return self._meter.hears

    @property
    def pauses(self) -> bool:
        """Whether the harness computes for itself."""
        return self._meter.pauses

    def refuse(self, call: str) -> None:
        """Raises SessionError inside an open loop over batches, and inside `scoring()`."""
        if self.loop_open:
            raise SessionError(f"{call} inside an open loop over batches(): leave the loop first")
        self.refuse_scoring(call)

    def refuse_scoring(self, call: str) -> None:
        """Raises SessionError inside `scoring()`."""
        if self.scoring:
            raise SessionError(f"{call} inside scoring(), where everything is undone: leave scoring() first")

    def require_tick(self, call: str) -> None:
        """Raises SessionError outside a tick, and inside `scoring()`."""
        self.refuse_scoring(call)
        if not self.tick_open:
            raise SessionError(f"{call} outside a tick: call it once for every batch of batches()")

    def require_loop(self, call: str) -> None:
        """Raises SessionError outside a loop over batches, and inside `scoring()`."""
        self.refuse_scoring(call)
        if not self.loop_open:
            raise SessionError(f"{call} outside a loop over batches(): call it after update() or in its place")

    @property
    def _untimed(self) -> str:
        """The kind of work that takes no tick."""
        return EXTRA if self.loop_open else "score"

    def _charge_tick(self, steps: int) -> None:
        kept, gradients = self._used
        self.ledger.charge(Event(self._kind, self._clock.step, steps, self._examples, kept, gradients=gradients))

    def _charge_flops(self, name: str, flops: int) -> None:
        """Charges a product beside the passes of ticks, and the share of it that belongs to kept weights."""
        topology = self._topology
        mask, kept = topology.masks.get(name), dict(zip(topology.masks, topology.kept, strict=True))
        sparse = flops if mask is None else round(flops * kept[name] / mask.numel())
        self.ledger.charge(Event(self._untimed, self._clock.step, 0, 0, topology.kept, flops, sparse))
