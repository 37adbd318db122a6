"""A watcher of a Session, which notes every fault of its pruner."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules.module import register_module_forward_pre_hook
from torch.optim.optimizer import register_optimizer_step_pre_hook

from lth_bench.conformance.traces import attached, global_noise
from lth_bench.pruning import parametrisation
from lth_bench.storage.tensors import State
from lth_bench.training.session import Session
from lth_bench.training.state import copied


class Watcher:
    """Looks after a pruner at every tick, and whenever it calls the Session.

    `faults` holds the first fault against each rule; `ticks` counts ticks, `idle_ticks` those whose gradients were
    used for nothing, and `examples` those that passed through the network with gradients and are charged by number.
    """

    session: Session

    def __init__(self) -> None:
        self.faults: dict[str, str] = {}
        self.ticks = self.idle_ticks = self.examples = 0
        self._advanced = False
        self._over = False

    def attach(self, session: Session) -> None:
        self.session = session
        self._masks = _copied_masks(session)
        self._attached, self._global = attached(session), global_noise()
        self.left()

    @contextmanager
    def watching(self) -> Iterator[None]:
        """Inside, notes passes through networks, and steps of optimisers over the Session's weights."""
        hooks = [register_module_forward_pre_hook(self._saw_pass), register_optimizer_step_pre_hook(self._saw_step)]
        self._attached = attached(self.session)
        try:
            yield
        finally:
            for hook in hooks:
                hook.remove()

    # -- what the Session tells ---------------------------------------------------------------------------------------

    def entered(self) -> None:
        """Checks what the pruner has done on its own since `left`, except in a tick and inside scoring."""
        if self._is_busy():
            return
        self._look()
        if not torch.equal(self._noise, torch.get_rng_state()):
            self._note("noise", "torch's random state has changed; draw from session.rng or inside session.scoring()")
        if self._loose_passes and (changed := _changed(self._left, copied(self.session.model))):
            self._note("scoring", f"passes to score on have changed {changed!r}; score inside session.scoring()")

    def left(self) -> None:
        """Remembers the network and the random state as the Session hands them to the pruner."""
        self._left, self._noise, self._loose_passes = copied(self.session.model), torch.get_rng_state(), 0

    def tick_opened(self) -> None:
        self._tick_seed = torch.default_generator.initial_seed()
        self._advanced = False

    def tick_closed(self) -> None:
        self._look()
        if torch.default_generator.initial_seed() != self._tick_seed:
            self._note("noise", "torch was seeded anew in a tick, whose noise the harness seeds; use session.rng")
        self.ticks += 1
        self.idle_ticks += self._is_idle()
        self.left()

    def masks_set(self, *, rewired: bool) -> None:
        if rewired:
            self._advanced = True
            self._masks = _copied_masks(self.session)

    def finished(self) -> None:
        self._over = True
        if global_noise() != self._global:
            self._note("noise", "the random state of numpy or of Python's random has changed; draw from session.rng")
        if traces := sorted(attached(self.session) - self._attached):
            self._note("traces", f"it leaves behind: {', '.join(traces[:3])}; take away what was attached")

    # -- inside ------------------------------------------------------------------------------------------------------

    def _is_busy(self) -> bool:
        return self.session.account.scoring or self.session.account.tick_open

    def _saw_pass(self, module: nn.Module, inputs: Any) -> None:
        if self._over:
            return
        account = self.session.account
        charged = account.hears
        if not charged and not account.pauses and all(module is not own for own in self.session.model.modules()):
            self._note("clock", f"{type(module).__name__} ran on no record; call it in the loop itself{self._when()}")
        if type(module) is not type(self.session.model):
            return
        if torch.is_grad_enabled() and not charged:
            self.examples += len(inputs[0])
        if (torch.is_grad_enabled() or module.training) and not self._is_busy():
            self._loose_passes += 1

    def _saw_step(self, optimizer: torch.optim.Optimizer, *_: Any) -> None:
        mine = {id(parameter) for parameter in self.session.model.parameters()}
        owned = {id(parameter) for group in optimizer.param_groups for parameter in group["params"]}
        if not mine & owned:
            return
        self._advanced = True
        if not self._is_busy():
            self._note("clock", "an optimiser made a step while the clock stood still; train in the ticks of batches()")

    def _is_idle(self) -> bool:
        """Whether this tick computed gradients, and neither an optimiser, rewire() nor the pruner changed a weight."""
        parameters = dict(self.session.model.named_parameters())
        computed = any(parameter.grad is not None for parameter in parameters.values())
        return computed and not self._advanced and _changed(self._left, dict(parameters)) is None

    def _note(self, rule: str, fault: str) -> None:
        self.faults.setdefault(rule, fault)

    def _look(self) -> None:
        """Checks that masks are boolean, and that pruned weights are zero and stay pruned."""
        session = self.session
        for name, mask in session.masks.items():
            if fault := _mask_fault(name, mask):
                self._note("masks", fault)
                return
        self._look_at_masks()
        with session.account.unmetered():
            computed = parametrisation.parametrised(session.model)
            state = parametrisation.dense_state(session.model) if computed else session.weights
        moments = session.optimizer.state if session.optimizer else {}
        for name, mask in session.masks.items():
            if not mask.all():
                self._look_at_weight(name, state[name], ~mask)
                self._look_at_moments(name, moments.get(session.weights[name], {}), ~mask)

    def _look_at_masks(self) -> None:
        for name, mask in self.session.masks.items():
            if born := int((mask & ~self._masks[name]).sum()):
                self._note("pruned", f"{born} weights of {name!r} came back to life without rewire(){self._when()}")
        self._masks = _copied_masks(self.session)

    def _look_at_weight(self, name: str, weight: Tensor, pruned: Tensor) -> None:
        if count := int(weight[pruned].count_nonzero()):
            self._note("pruned", f"{count} pruned weights of {name!r} are not zero{self._when()}")

    def _look_at_moments(self, name: str, moments: dict[str, Any], pruned: Tensor) -> None:
        for value in moments.values():
            if isinstance(value, Tensor) and value.shape == pruned.shape and bool(value[pruned].any()):
                self._note("pruned", f"pruned weights of {name!r} have optimiser state{self._when()}")

    def _when(self) -> str:
        return f" at step {self.session.step}"


def _copied_masks(session: Session) -> dict[str, Tensor]:
    return {name: mask.clone() for name, mask in session.masks.items()}


def _mask_fault(name: str, mask: Tensor) -> str | None:
    if mask.dtype == torch.bool:
        return None
    low, high = float(mask.detach().min()), float(mask.detach().max())
    return f"the mask of {name!r} is {mask.dtype} from {low:.3g} to {high:.3g}, wanted True where a weight is kept"


def _changed(before: State, after: State) -> str | None:
    """The first tensor that differs."""
    return next((name for name in after if name not in before or not torch.equal(before[name], after[name])), None)
