"""A Session that notes what a pruner does and should not do."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules.module import register_module_forward_pre_hook
from torch.optim.optimizer import register_optimizer_step_pre_hook

from lth_bench.conformance.traces import attached, global_noise
from lth_bench.data.examples import Batch
from lth_bench.pruning import parametrisation
from lth_bench.pruning.masks import Masks
from lth_bench.storage.tensors import State
from lth_bench.training.session import Session, Setup, Snapshot, Until


class Observed(Session):
    """Looks after its pruner at every tick, and whenever the pruner turns to the Session again.

    `faults` holds, by rule, the first that was seen; `ticks` counts ticks and `examples` those that passed through the
    network with gradients.
    """

    def __init__(self, setup: Setup) -> None:
        super().__init__(setup)
        self.faults: dict[str, str] = {}
        self.ticks = self.examples = 0
        self._known = {name: mask.clone() for name, mask in self.masks.items()}
        self._rewiring = False
        self._over = False
        self._attached, self._global = attached(self), global_noise()
        self._mark()

    # -- what is seen from outside ------------------------------------------------------------------------------------

    @contextmanager
    def watched(self) -> Iterator[None]:
        """Inside, passes through networks of this class and steps of optimisers of its weights are seen."""
        hooks = [register_module_forward_pre_hook(self._saw_pass), register_optimizer_step_pre_hook(self._saw_step)]
        self._attached = attached(self)
        try:
            yield
        finally:
            for hook in hooks:
                hook.remove()

    def _saw_pass(self, module: nn.Module, inputs: Any) -> None:
        if type(module) is not type(self.model) or self._over:
            return
        if torch.is_grad_enabled():
            self.examples += len(inputs[0])
        if (torch.is_grad_enabled() or module.training) and not self._scoring and self._tick is None:
            self._loose_passes += 1

    def _saw_step(self, optimizer: torch.optim.Optimizer, *_: Any) -> None:
        mine = {id(parameter) for parameter in self.model.parameters()}
        owned = {id(parameter) for group in optimizer.param_groups for parameter in group["params"]}
        if self._tick is None and not self._scoring and mine & owned:
            self._note("clock", "an optimiser made a step while the clock stood still; train in the ticks of batches()")

    # -- what a pruner calls ------------------------------------------------------------------------------------------

    def train(self, until: Until = None) -> None:
        with self._at_work():
            super().train(until)

    def batches(self, until: Until = None) -> Iterator[Batch]:
        try:
            yield from super().batches(until)
        finally:
            self._mark()

    def rewire(self, masks: Masks) -> None:
        self._rewiring = True
        try:
            super().rewire(masks)
        finally:
            self._rewiring = False

    @contextmanager
    def scoring(self, *, training: bool = False, precision: torch.dtype | None = None) -> Iterator[None]:
        self._settle()
        with super().scoring(training=training, precision=precision):
            yield

    def parametrize(self, make: parametrisation.Make) -> dict[str, nn.Module]:
        with self._at_work():
            return super().parametrize(make)

    def bake(self) -> None:
        with self._at_work():
            super().bake()

    def rewind(self, snapshot: Snapshot) -> None:
        with self._at_work():
            super().rewind(snapshot)

    def restore(self, snapshot: Snapshot) -> None:
        with self._at_work():
            super().restore(snapshot)

    def finish(self) -> None:
        self._settle()
        if global_noise() != self._global:
            self._note("noise", "the random state of numpy or of Python's random has changed; draw from session.rng")
        self._over = True
        super().finish()
        if left := sorted(attached(self) - self._attached):
            self._note("traces", f"it leaves behind: {', '.join(left[:3])}; take away what was attached")

    # -- ticks and masks ----------------------------------------------------------------------------------------------

    def _open_tick(self) -> Batch:
        self._settle()
        batch = super()._open_tick()
        self._tick_seed = torch.default_generator.initial_seed()
        return batch

    def _end_tick(self) -> None:
        self._look()
        if torch.default_generator.initial_seed() != self._tick_seed:
            self._note("noise", "torch was seeded anew in a tick, whose noise the harness seeds; use session.rng")
        super()._end_tick()
        self.ticks += 1
        self._mark()

    def _set_masks(self, masks: Masks) -> None:
        with self._at_work():
            super()._set_masks(masks)

    # -- inside ------------------------------------------------------------------------------------------------------

    def _note(self, rule: str, fault: str) -> None:
        self.faults.setdefault(rule, fault)

    @contextmanager
    def _at_work(self) -> Iterator[None]:
        """Around what the harness does."""
        self._settle()
        yield
        self._mark()

    def _mark(self) -> None:
        """Remembers how the harness leaves the Session to the pruner."""
        self._left, self._noise, self._loose_passes = self._state(), torch.get_rng_state(), 0

    def _settle(self) -> None:
        """Looks at what the pruner has done since then, on its own; not in a tick, nor where all will be undone."""
        if self._scoring or self._tick is not None:
            return
        self._look()
        if not torch.equal(self._noise, torch.get_rng_state()):
            self._note("noise", "torch's random state has changed; draw from session.rng or inside session.scoring()")
        if self._loose_passes and (changed := _changed(self._left, self._state())):
            self._note("scoring", f"passes to score on have changed {changed!r}; score inside session.scoring()")

    def _look(self) -> None:
        """Looks whether what is pruned is, and stays, pruned."""
        for name, mask in self.masks.items():
            if fault := _mask_fault(name, mask):
                self._note("masks", fault)
                return
        self._look_at_masks()
        with self._gauge.paused():
            computed = parametrisation.parametrised(self.model)
            state = parametrisation.dense_state(self.model) if computed else self.weights
        moments = self.optimizer.state if self.optimizer else {}
        for name, mask in self.masks.items():
            if not mask.all():
                self._look_at_weight(name, state[name], ~mask)
                self._look_at_moments(name, moments.get(self.weights[name], {}), ~mask)

    def _look_at_masks(self) -> None:
        for name, mask in self.masks.items():
            born = int((mask & ~self._known[name]).sum())
            if born and not self._rewiring:
                self._note("pruned", f"{born} weights of {name!r} came back to life without rewire(){self._when()}")
        self._known = {name: mask.clone() for name, mask in self.masks.items()}

    def _look_at_weight(self, name: str, weight: Tensor, gone: Tensor) -> None:
        if count := int(weight[gone].count_nonzero()):
            self._note("pruned", f"{count} pruned weights of {name!r} are not zero{self._when()}")

    def _look_at_moments(self, name: str, moments: dict[str, Any], gone: Tensor) -> None:
        for value in moments.values():
            if isinstance(value, Tensor) and value.shape == gone.shape and bool(value[gone].any()):
                self._note("pruned", f"pruned weights of {name!r} have optimiser state{self._when()}")

    def _when(self) -> str:
        return f" at step {self.step}"


def _mask_fault(name: str, mask: Tensor) -> str | None:
    if mask.dtype == torch.bool:
        return None
    low, high = float(mask.detach().min()), float(mask.detach().max())
    return f"the mask of {name!r} is {mask.dtype} from {low:.3g} to {high:.3g}, wanted True where a weight is kept"


def _changed(before: State, after: State) -> str | None:
    """The first tensor that differs."""
    return next((name for name in after if name not in before or not torch.equal(before[name], after[name])), None)
