"""Pruners that each break one rule of the contract, and some that break none."""

from __future__ import annotations

import copy
import itertools
import os
import random
import sys
import threading
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor, nn

from lth_bench import Count, Session, Unsuitable, chance, hookimpl, magnitude
from lth_bench.pruning.masks import full, pruned

BROKEN: dict[str, tuple[str, str]] = {}
"""By name, the rule that must be found broken, and a pattern of the reason."""
KINDS: dict[str, type] = {}


def breaks(rule, reason):
    def noted(kind):
        BROKEN[kind.__name__.lower()] = rule, reason
        return keeps(kind)

    return noted


def keeps(kind):
    KINDS[kind.__name__.lower()] = kind
    return kind


@hookimpl
def register_pruners(register):
    for name, kind in KINDS.items():
        register(name, kind)


# ---- those that keep to the contract ---------------------------------------------------------------------------------


@keeps
@dataclass(frozen=True)
class Honest:
    """What the others would be."""

    def __call__(self, session: Session) -> None:
        session.prune(magnitude(session))
        session.train()


@keeps
@dataclass(frozen=True)
class Talkative:
    """Prints a million characters a run, and more when it is made."""

    def __post_init__(self) -> None:
        sys.stdout.write("made")

    def __call__(self, session: Session) -> None:
        session.prune(magnitude(session))
        for batch in session.batches():
            sys.stdout.write("loss " * 6_000)
            session.loss(batch).backward()
            session.update()
            sys.stderr.write(f"step {session.step}\n")


@breaks("pattern", r"was to hold 2:4, but layer 'conv1.weight', whose inputs do not come in groups of 4, is not")
@dataclass(frozen=True)
class Patternless:
    """Adopts masks of its own, whatever is asked for."""

    def __call__(self, session: Session) -> None:
        session.adopt(pruned(magnitude(session), session.masks, session.sparsity))
        session.train()


@breaks("pattern", r"2:4 keeps \d+ of \d+ weights of '\w+.weight', here \d+ remain")
@dataclass(frozen=True)
class Overeager:
    """Removes half of what a pattern keeps."""

    def __call__(self, session: Session) -> None:
        session.prune(magnitude(session))
        if session.pattern:
            dense = {name: mask.all() for name, mask in session.masks.items()}
            half = {
                name: masked if dense[name] else masked & (torch.rand(masked.shape, generator=session.rng) < 0.5)
                for name, masked in session.masks.items()
            }
            session.adopt(half)
        session.train()


@breaks("networks", "RuntimeError at .*: no; it printed at last: .*thinking 98 thinking 99$")
@dataclass(frozen=True)
class Resigned:
    def __call__(self, session: Session) -> None:
        for number in range(100):
            sys.stdout.write(f"thinking {number}\n")
        raise RuntimeError("no")


@keeps
@dataclass(frozen=True)
class Distiller:
    """Learns from a teacher, and from a second pass of its own network, in every tick."""

    def __call__(self, session: Session) -> None:
        teacher = copy.deepcopy(session.model).eval()
        session.prune(magnitude(session))
        for batch in session.batches():
            with torch.no_grad():
                wanted = teacher(batch.inputs)
            distance = nn.functional.mse_loss(session.model(batch.inputs), wanted)
            (session.loss(batch) + distance).backward()
            session.update()


@keeps
@dataclass(frozen=True)
class Nothing:
    """Prunes nothing, and says so."""

    def __call__(self, session: Session) -> None:
        if session.sparsity:
            raise Unsuitable("nothing is pruned here; ask for sparsity 0")
        session.train()


@keeps
@dataclass(frozen=True)
class Choosy:
    """Cannot be used on every network, nor with every combination of parameters."""

    layered: bool = False
    scope: Literal["all", "some"] | None = None

    def __post_init__(self):
        if self.layered and self.scope is None:
            raise ValueError("layered goes with a scope")

    def __call__(self, session: Session) -> None:
        if not session.norms or self.scope == "some":
            raise Unsuitable("it needs batch norm; take a network that has some")
        session.prune(magnitude(session))
        session.train()


@keeps
@dataclass(frozen=True)
class Frugal:
    """Uses what is allowed: own draws in ticks and while scoring, weights that are written between ticks, hooks."""

    def __call__(self, session: Session) -> None:
        with session.scoring(training=True):
            noise = {name: torch.rand(weight.shape) for name, weight in session.weights.items()}
            session.loss(session.sample(10)).backward()
        session.prune(noise)
        for batch in session.batches():
            handle = session.model.register_forward_hook(lambda module, inputs, logits: logits + 0 * torch.rand(()))
            session.loss(batch).backward()
            handle.remove()
            session.update()
            with torch.no_grad():
                for weight in session.weights.values():
                    weight.mul_(0.999)


@keeps
@dataclass(frozen=True)
class Redrawer:
    """Scores other initial weights than those it trains."""

    def __call__(self, session: Session) -> None:
        with session.scoring():
            session.redraw()
            scores = magnitude(session)
        session.prune(scores)
        session.train()


@keeps
@dataclass(frozen=True)
class Varied:
    """Ends its ticks in every way: by an update, a rewiring, a step of its own, by hand, and without gradients."""

    def __call__(self, session: Session) -> None:
        session.prune(magnitude(session))
        free = [parameter for parameter in session.model.parameters() if parameter.ndim == 1]
        for batch in session.batches():
            if session.step % 5 == 0:
                with torch.no_grad():
                    session.loss(batch)
                continue
            session.loss(batch).backward()
            if session.step % 5 == 1:
                session.update()
            elif session.step % 5 == 2:
                session.rewire(session.masks)
            elif session.step % 5 == 3:
                torch.optim.SGD(free, lr=0.01).step()
            else:
                with torch.no_grad():
                    for parameter in free:
                        parameter.sub_(0.01 * parameter.grad)


@keeps
@dataclass(frozen=True)
class Particular:
    """Knows one sparsity only."""

    def __call__(self, session: Session) -> None:
        if session.sparsity != 0.75:
            raise Unsuitable("two of four weights of two of four rows are kept; ask for sparsity 0.75")
        Honest()(session)


@keeps
@dataclass(frozen=True)
class Interrupted:
    """Somebody has pressed Ctrl-C."""

    def __call__(self, session: Session) -> None:
        raise KeyboardInterrupt


# ---- parameters ------------------------------------------------------------------------------------------------------


@breaks("identity", "default_factory.*unhashable type: 'list'")
@dataclass(frozen=True)
class Lister(Honest):
    rates: list[float] = field(default_factory=lambda: [0.5])


@breaks("identity", "Thawed is not frozen")
@dataclass
class Thawed:
    rate: float = 0.5
    __call__ = Honest.__call__


@breaks("identity", "its own parameters, written out, are refused: examples: Input should be greater")
@dataclass(frozen=True)
class Contrary(Honest):
    examples: Count = 0


@breaks("identity", "not JSON")
@dataclass(frozen=True)
class Infinite(Honest):
    limit: float = float("inf")


@breaks("identity", "its types cannot be read .*Unreadable.*; import")
@dataclass(frozen=True)
class Unreadable(Honest):
    rate: Unknown = 0.5  # type: ignore[name-defined]  # noqa: F821


@breaks("types", "'rate' takes anything")
@dataclass(frozen=True)
class Lax(Honest):
    rate: Any = 0.5


@breaks("types", "'rate' refuses a wrong value by TypeError")
@dataclass(frozen=True)
class Abrupt(Honest):
    rate: float | str = 0.5

    def __post_init__(self):
        abs(self.rate)


# ---- networks and sparsity -------------------------------------------------------------------------------------------


@breaks("networks", r"it works on a small transformer.*ValueError at support/broken_pruners\.py:\d+: not enough values")
@dataclass(frozen=True)
class Convolutional:
    def __call__(self, session: Session) -> None:
        for name, weight in session.weights.items():
            if "blocks" in name:
                _, _, _, _ = weight.shape
        Honest()(session)


@breaks("networks", "InvalidResult: .*differ in .*secret")
@dataclass(frozen=True)
class Grower:
    def __call__(self, session: Session) -> None:
        session.model.secret = nn.Parameter(torch.ones(3))
        Honest()(session)


@breaks("networks", "diverged: training loss nan")
@dataclass(frozen=True)
class Exploder:
    def __call__(self, session: Session) -> None:
        for weight in session.weights.values():
            weight.data.fill_(float("nan"))
        session.train()


@breaks("networks", "on any network: .*none of these")
@dataclass(frozen=True)
class Refuser:
    def __call__(self, session: Session) -> None:
        raise Unsuitable("no network is good enough")


@breaks(
    "networks",
    r"SessionError at support/broken_pruners\.py:\d+: prune\(\) inside scoring\(\), where everything is undone",
)
@dataclass(frozen=True)
class Hasty:
    def __call__(self, session: Session) -> None:
        with session.scoring():
            session.prune(magnitude(session))
        session.train()


@breaks("sparsity", "leaves 1418 of 3544 weights, here 1595 remain, 177 too many")
@dataclass(frozen=True)
class Shy:
    def __call__(self, session: Session) -> None:
        session.prune(magnitude(session), session.sparsity - 0.05)
        session.train()


@breaks("sparsity", "leaves 1418 of 3544 weights, the masks leave 1417, and no channel or rank")
@dataclass(frozen=True)
class Keen:
    def __call__(self, session: Session) -> None:
        session.prune(magnitude(session), session.sparsity + 1 / 3544)
        session.train()


@breaks("sparsity", "too few, more than any one channel")
@dataclass(frozen=True)
class KeenOnChannels:
    def __call__(self, session: Session) -> None:
        scores = {name: weight.detach().flatten(1).norm(dim=1) for name, weight in session.weights.items()}
        session.prune_channels({name: scores[name] for name in ("conv1.weight", "conv2.weight", "fc1.weight")}, 0.8)
        session.train()


@breaks("sparsity", "more than a rank too few")
@dataclass(frozen=True)
class KeenOnRanks:
    def __call__(self, session: Session) -> None:
        class Factors(nn.Module):
            def forward(self, one, other):
                return (one @ other).view(self.shape)

            def right_inverse(self, weight):
                self.shape = weight.shape
                flat = weight.flatten(1)
                return flat[:, :1].clone(), flat[:1].clone()

        session.parametrize(lambda name, weight: Factors())
        session.train()


# ---- masks and what is pruned ----------------------------------------------------------------------------------------


@breaks("masks", "is torch.float32 from 0 to 1, wanted True")
@dataclass(frozen=True)
class Soft:
    def __call__(self, session: Session) -> None:
        session.prune(magnitude(session))
        session.masks.update({name: mask.float() for name, mask in session.masks.items()})
        session.train()


@breaks("pruned", "pruned weights of 'conv1.weight' are not zero at step 1 ")
@dataclass(frozen=True)
class Leaker:
    """Its weights come back in every tick, and are gone in the end."""

    def __call__(self, session: Session) -> None:
        session.prune(magnitude(session))
        for batch in session.batches():
            session.loss(batch).backward()
            session.update()
            for weight in session.weights.values():
                weight.data.add_(1e-3)
        for name, weight in session.weights.items():
            weight.data.mul_(session.masks[name])


@breaks("pruned", "pruned weights of 'conv1.weight' have optimiser state at step 1 ")
@dataclass(frozen=True)
class Pusher:
    def __call__(self, session: Session) -> None:
        session.prune(magnitude(session))
        for batch in session.batches():
            session.loss(batch).backward()
            session.update()
            for state in session.optimizer.state.values():
                state["momentum_buffer"].add_(1e-9)
            for name, weight in session.weights.items():
                weight.data.mul_(session.masks[name])


@breaks("pruned", "weights of 'conv1.weight' came back to life without rewire")
@dataclass(frozen=True)
class Reviver:
    def __call__(self, session: Session) -> None:
        session.prune(magnitude(session))
        session.train(until=10)
        session._set_masks(full(session.weights))
        session.prune(magnitude(session))
        session.train()


@breaks("pruned", "are not zero in the ticket")
@dataclass(frozen=True)
class Swapper:
    def __call__(self, session: Session) -> None:
        start = session.snapshot()
        Honest()(session)
        session.course.ticket = start


# ---- scoring, random states, the clock -------------------------------------------------------------------------------


@breaks("scoring", "have changed 'norm.running_mean'; score inside session.scoring.*residual")
@dataclass(frozen=True)
class Warmer:
    def __call__(self, session: Session) -> None:
        session.model.train()
        with torch.random.fork_rng(devices=[]):
            session.loss(session.sample(20)).backward()
        session.prune({name: weight.grad.abs() for name, weight in session.weights.items()})
        session.train()


@breaks("scoring", "have changed 'conv1.weight'")
@dataclass(frozen=True)
class Positive:
    """SynFlow that forgets the signs."""

    def __call__(self, session: Session) -> None:
        session.model.eval()
        for weight in session.weights.values():
            weight.data.abs_()
        session.logits(torch.ones(1, *session.input_shape)).sum().backward()
        session.prune({name: (weight * weight.grad).detach() for name, weight in session.weights.items()})
        session.train()


@breaks("noise", "torch's random state has changed; draw from session.rng")
@dataclass(frozen=True)
class Drawer:
    def __call__(self, session: Session) -> None:
        session.prune({name: torch.rand(weight.shape) for name, weight in session.weights.items()})
        session.train()


@breaks("noise", "torch's random state has changed")
@dataclass(frozen=True)
class Seeder:
    def __call__(self, session: Session) -> None:
        torch.manual_seed(0)
        Honest()(session)


@breaks("noise", "torch was seeded anew in a tick")
@dataclass(frozen=True)
class TickSeeder:
    def __call__(self, session: Session) -> None:
        session.prune(magnitude(session))
        for batch in session.batches():
            torch.manual_seed(0)
            session.loss(batch).backward()
            session.update()


@breaks("noise", "numpy or of Python's random")
@dataclass(frozen=True)
class NumpySeeder:
    def __call__(self, session: Session) -> None:
        np.random.seed(0)
        Honest()(session)


@breaks("noise", "numpy or of Python's random")
@dataclass(frozen=True)
class Gambler:
    def __call__(self, session: Session) -> None:
        random.random()
        Honest()(session)


@breaks("clock", "an optimiser made a step while the clock stood still")
@dataclass(frozen=True)
class Moonlighter:
    def __call__(self, session: Session) -> None:
        optimizer = torch.optim.SGD(session.model.parameters(), lr=0.01)
        for turn in range(3):
            session.loss(session.sample(20, turn)).backward()
            optimizer.step()
        Honest()(session)


@breaks("clock", r"Plain ran on no record; call it in the loop itself at step 0 \(a network without norm layers\)")
@dataclass(frozen=True)
class Smuggler:
    """Runs a teacher inside the network's own passes, which cost what they cost without it."""

    def __call__(self, session: Session) -> None:
        teacher = copy.deepcopy(session.model)
        session.prune(magnitude(session))
        hook = session.model.register_forward_pre_hook(lambda module, inputs: self.ask(teacher, *inputs))
        session.train()
        hook.remove()

    @torch.no_grad()
    def ask(self, teacher: nn.Module, inputs: Tensor) -> None:
        teacher(inputs)


@breaks("clock", "ran on no record; call it in the loop itself at step 0")
@dataclass(frozen=True)
class Whisperer:
    """Asks a teacher in another thread."""

    def __call__(self, session: Session) -> None:
        teacher = copy.deepcopy(session.model)
        session.prune(magnitude(session))
        for batch in session.batches():
            thread = threading.Thread(target=teacher, args=(batch.inputs,))
            thread.start()
            thread.join()
            session.loss(batch).backward()
            session.update()


@breaks("clock", r"640 examples passed .*, the events hold 0; use session.loss\(\)")
@dataclass(frozen=True)
class Launderer:
    """Says that the passes of its ticks are the harness's own."""

    def __call__(self, session: Session) -> None:
        session.prune(magnitude(session))
        for batch in session.batches():
            with session.account.unmetered():
                nn.functional.cross_entropy(session.model(batch.inputs), batch.labels).backward()
            session.update()


@breaks("clock", "32 of 32 ticks with gradients and no update; call session.update")
@dataclass(frozen=True)
class Forgetful:
    def __call__(self, session: Session) -> None:
        session.prune(magnitude(session))
        for batch in session.batches():
            session.loss(batch).backward()


@breaks("clock", "8 of 32 ticks with gradients and no update")
@dataclass(frozen=True)
class Accumulator:
    """Hopes that gradients add up over ticks."""

    def __call__(self, session: Session) -> None:
        session.prune(magnitude(session))
        for batch in session.batches():
            session.loss(batch).backward()
            if session.step % 4:
                session.update()


@breaks("clock", "32 ticks were computed, the events hold 0")
@dataclass(frozen=True)
class Embezzler:
    def __call__(self, session: Session) -> None:
        Honest()(session)
        session.account.ledger.events.clear()


# ---- what is left behind ---------------------------------------------------------------------------------------------


@breaks("traces", "_forward_hooks of conv1")
@dataclass(frozen=True)
class Hooker:
    def __call__(self, session: Session) -> None:
        Honest()(session)
        session.model.get_submodule("conv1").register_forward_hook(lambda module, inputs, output: -output)


@breaks("traces", "a hook of conv1.weight")
@dataclass(frozen=True)
class GradientHooker:
    def __call__(self, session: Session) -> None:
        Honest()(session)
        session.weights["conv1.weight"].register_hook(lambda gradient: -gradient)


@breaks("traces", "a forward of its own of the network")
@dataclass(frozen=True)
class Patcher:
    def __call__(self, session: Session) -> None:
        Honest()(session)
        session.model.forward = type(session.model).forward.__get__(session.model)


@breaks("traces", "another session.loss")
@dataclass(frozen=True)
class Overrider:
    def __call__(self, session: Session) -> None:
        loss = session.loss
        session.loss = lambda batch: 2 * loss(batch)
        Honest()(session)


@breaks("traces", "torch's setting of gradients: False")
@dataclass(frozen=True)
class Switcher:
    def __call__(self, session: Session) -> None:
        Honest()(session)
        torch.set_grad_enabled(False)


# ---- seeds -----------------------------------------------------------------------------------------------------------


@breaks("same seed", "these differ: .*masks")
@dataclass(frozen=True)
class Fickle:
    def __call__(self, session: Session) -> None:
        rng = torch.Generator().manual_seed(int.from_bytes(os.urandom(4), "big"))
        session.prune({name: torch.rand(weight.shape, generator=rng) for name, weight in session.weights.items()})
        session.train()


@breaks("same seed", "these differ: .*events")
@dataclass(frozen=True)
class Diarist:
    """Remembers how often it was called."""

    calls = itertools.count(1)

    def __call__(self, session: Session) -> None:
        for turn in range(next(self.calls)):
            with session.scoring():
                session.loss(session.sample(10, turn))
        Honest()(session)


@breaks("stored", "these differ: .*masks")
@dataclass(frozen=True)
class Timekeeper:
    """Does something else when training was looked up."""

    def __call__(self, session: Session) -> None:
        session.train(until=8)
        scores = magnitude(session) if session.account.spent.steps_computed else chance(session)
        session.prune(scores)
        session.train()


@breaks("other seed", "seeds 0 and 1 end in the same masks")
@dataclass(frozen=True)
class Stubborn:
    def __call__(self, session: Session) -> None:
        rng = torch.Generator().manual_seed(0)
        session.prune({name: torch.rand(weight.shape, generator=rng) for name, weight in session.weights.items()})
        session.train()


@breaks("other seed", "the same masks, which leave no weight of 'fc2.weight'; bring the scores")
@dataclass(frozen=True)
class Lopsided:
    def __call__(self, session: Session) -> None:
        session.prune(
            {name: torch.full_like(weight, -place) for place, (name, weight) in enumerate(session.weights.items())}
        )
        session.train()


@breaks("other seed", "seeds 0 and 1 end in the same weights")
@dataclass(frozen=True)
class Constant:
    def __call__(self, session: Session) -> None:
        for value in session.model.state_dict().values():
            value.fill_(1)
        session.prune(magnitude(session))
