"""The Session: a model, its training data and a clock, for a pruner to drive."""

from __future__ import annotations

import copy
import math
import operator
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from lth_bench import masks as masking
from lth_bench.data import Batch, Source, Stream
from lth_bench.durations import Duration
from lth_bench.ledger import Event, Ledger, Spent
from lth_bench.masks import Masks, Scores
from lth_bench.models import evaluate, mode, nothing, output_layer, prunable
from lth_bench.monitor import Measurement, Monitor, State
from lth_bench.optimizers import clean, make_optimizer, restore_state
from lth_bench.recipe import Recipe, Schedule
from lth_bench.streams import generator, kept_noise, seed_noise, stream_seed

if TYPE_CHECKING:
    from lth_bench.memory import Memory

Until = int | str | None


class SessionError(RuntimeError):
    """A Session used in a way that has no meaning."""


class Diverged(Exception):
    """Training reached a loss or a weight that is not finite."""

    def __init__(self, step: int, what: str) -> None:
        super().__init__(f"{what} at step {step}")
        self.step, self.what = step, what


class Interrupted(BaseException):
    """The harness has to end this Session now; not an Exception, so that a pruner's own handling lets it pass."""


@dataclass(frozen=True)
class Setup:
    """What a Session is made of: a network made from an initialisation seed, data, recipe, target and seed.

    `prunable` finds the weights that may be pruned. With a memory, segments that were trained before are looked up
    there; `progress` is called at every tick and pass.
    """

    network: Callable[[int], nn.Module]
    training: Source
    validation: Source
    recipe: Recipe
    sparsity: float
    seed: int
    memory: Memory | None = None
    progress: Callable[[], None] = nothing
    prunable: Callable[[nn.Module], dict[str, nn.Parameter]] = prunable


@dataclass(frozen=True)
class Snapshot:
    """Weights, buffers, optimiser state (None before the first update) and clock."""

    step: int
    state: State
    optimizer: dict[str, Any] | None


class Session:
    """A model, its training data and a clock.

    `sparsity` is the target and `step` the clock. Learning rate, data order and noise are pure functions of
    (seed, step), so that going back is an int and some tensors.
    """

    def __init__(self, setup: Setup) -> None:
        self.recipe, self.sparsity, self.seed = setup.recipe, setup.sparsity, setup.seed
        self.model = setup.network(stream_seed(setup.seed, "initialisation"))
        self.weights = setup.prunable(self.model)
        self.output_layer = output_layer(self.model)
        self.masks: Masks = masking.full(self.weights)
        self.rng = generator(setup.seed, "method")
        self.step = 0
        self.optimizer: torch.optim.Optimizer | None = None
        self.monitor = Monitor()
        self.ledger = Ledger()
        self.spent = Spent()
        self.ticket: Snapshot | None = None
        self._memory, self._progress = setup.memory, setup.progress
        self._ended: Interrupted | Diverged | None = None
        self._network, self._validation = setup.network, setup.validation
        self._stream = Stream(setup.training, setup.recipe, setup.seed)
        self.schedule = Schedule(self.recipe, self._stream.steps_per_epoch)
        self.total_steps = self.schedule.total
        self._measure_every = max(1, self._steps(self.recipe.measure_every))
        self._loop_open = self._scoring = False
        self._tick: int | None = None
        self._tick_examples, self._tick_kind = 0, "train"
        self._tick_loss: Tensor | None = None
        self._kept = self._counts()
        self._masked: list[tuple[nn.Parameter, Tensor]] = []
        self._parameters = list(self.model.parameters())
        if self._memory:
            self._memory.attach(self)

    @property
    def shapes(self) -> dict[str, tuple[int, ...]]:
        """Shapes of the prunable weights by layer."""
        return {name: tuple(weight.shape) for name, weight in self.weights.items()}

    @property
    def input_shape(self) -> tuple[int, ...]:
        """Channels, height and width."""
        return self._stream.data.shape

    # -- training ----------------------------------------------------------------------------------------------------

    def train(self, until: Until = None) -> None:
        """Trains up to a step, a duration from the start ('500it', '2ep', '10%') or, by default, the recipe's end.

        The same segment from the same state is computed once and looked up after that, where there is a memory.
        """
        self._refuse_in_loop("train()")
        self._check_in_force()
        end = self._steps(until)
        if self._memory is None or end <= self.step:
            self.compute(end)
        else:
            self._recall(self._memory, end)
        seed_noise(self.seed, "noise", self.step)

    def compute(self, until: Until) -> None:
        """What `train` does where nothing is looked up."""
        for batch in self.batches(until):
            self.loss(batch).backward()
            self.update()

    def batches(self, until: Until = None) -> Iterator[Batch]:
        """Training batches; each is one tick of the clock and starts with cleared gradients."""
        self._refuse_in_loop("batches()")
        self._check_in_force()
        end = self._steps(until)
        if end < self.step:
            raise SessionError(f"cannot train until step {end}: the clock stands at {self.step}")
        self._check_trainable()
        self._parameters = list(self.model.parameters())
        self._loop_open = True
        self.model.train()
        try:
            while self.step < end:
                yield self._open_tick()
                if self._tick is not None:
                    self._end_tick()
        finally:
            if self._tick is not None and self._tick_examples:
                self.ledger.charge(Event("score", self.step, 0, self._tick_examples, self._kept))
            self._loop_open, self._tick = False, None
            self._clear_gradients()

    def loss(self, batch: Batch) -> Tensor:
        """Mean cross-entropy of a batch, in nats, with the recipe's label smoothing; charged as one pass both ways."""
        loss = self._forward(batch)
        self._charge_pass(batch)
        if not self._scoring:
            self._tick_loss = loss.detach()
        return loss

    def update(self) -> None:
        """One optimiser step at this tick's learning rate; pruned weights and their optimiser state stay zero."""
        self._refuse_outside_tick("update()")
        if self.optimizer is None:
            self.optimizer = make_optimizer(self.recipe, self.model)
        for group in self.optimizer.param_groups:
            group["lr"] = self.schedule.rate(self.step)
        alive = [(weight.grad, mask) for weight, mask in self._masked if weight.grad is not None]
        if alive:
            torch._foreach_mul_([grad for grad, _ in alive], [mask for _, mask in alive])
        self.optimizer.step()
        self._end_tick()

    def dense_gradients(self, batch: Batch) -> dict[str, Tensor]:
        """Gradients of the training loss for all prunable weights, pruned ones too."""
        loss = self._forward(batch)
        self._charge_pass(batch, dense=True)
        if not self._scoring:
            self._tick_loss = loss.detach()
        return dict(zip(self.weights, torch.autograd.grad(loss, list(self.weights.values())), strict=True))

    # -- pruning -----------------------------------------------------------------------------------------------------

    def prune(self, scores: Scores, sparsity: float | Mapping[str, float] | None = None) -> None:
        """Keeps the highest scores: over all layers to a float (by default the target), in each layer to a dict.

        The count is exact, ties go to the earlier weight, and what is pruned stays pruned. Raises MaskError for scores
        that do not fit and for a target that would leave no weight at all.
        """
        masks = masking.pruned(scores, self.masks, self.sparsity if sparsity is None else sparsity)
        if not any(masking.kept(masks).values()):
            raise masking.MaskError(f"a sparsity of {sparsity or self.sparsity} would leave no weight at all")
        self._set_masks(masks)

    def adopt(self, masks: Masks) -> None:
        """Prunes by given masks, a ticket's for instance; what is pruned stays pruned. Raises MaskError."""
        masking.check_masks(masks, self.masks)
        self._set_masks({name: mask & masks[name].to(mask.device) for name, mask in self.masks.items()})

    def rewire(self, masks: Masks) -> None:
        """Replaces the masks and ends the tick in place of an update; new weights start at zero, with empty state."""
        self._refuse_outside_tick("rewire()")
        masking.check_masks(masks, self.masks)
        self._set_masks({name: masks[name].clone() for name in self.masks})
        self._end_tick()

    # -- scoring -----------------------------------------------------------------------------------------------------

    def sample(self, count: int, round: int = 0) -> Batch:
        """`count` training examples to score on, a pure function of (seed, step, round)."""
        return self._stream.sample(count, ("sample", self.step, round))

    def balanced_sample(self, per_class: int, round: int = 0) -> Batch:
        """`per_class` training examples of every class, sorted by class, to score on."""
        return self._stream.balanced_sample(per_class, ("balanced sample", self.step, round))

    @contextmanager
    def scoring(self, *, training: bool = False) -> Iterator[None]:
        """Inside, do to the network what a score needs; on leaving, all of it is undone.

        Weights, buffers, gradients, modes and random state come back as they were. `training` chooses batch
        statistics and dropout over running statistics.
        """
        state = self._state()
        gradients = [(parameter, parameter.grad) for parameter in self.model.parameters()]
        self._clear_gradients()
        outer, self._scoring = self._scoring, True
        try:
            with kept_noise(next(self.model.parameters()).device), mode(self.model, training=training):
                seed_noise(self.seed, "score", self.step)
                yield
        finally:
            self._scoring = outer
            self._load(state)
            for parameter, gradient in gradients:
                parameter.grad = gradient

    # -- the clock ---------------------------------------------------------------------------------------------------

    def snapshot(self) -> Snapshot:
        """Weights, buffers, optimiser state and clock, to go back to; not the masks."""
        self._refuse_in_loop("snapshot()")
        optimizer = copy.deepcopy(self.optimizer.state_dict()) if self.optimizer else None
        return Snapshot(self.step, self._state(), optimizer)

    def rewind(self, snapshot: Snapshot) -> None:
        """Goes back to a snapshot, under the masks of today."""
        self._refuse_in_loop("rewind()")
        self.restore(snapshot)
        self._apply_masks()
        self._set_clock(snapshot.step)

    def rewind_clock(self, step: int) -> None:
        """Sets the clock back; weights and optimiser state stay."""
        self._refuse_in_loop("rewind_clock()")
        step = operator.index(step)
        if not 0 <= step <= self.step:
            raise SessionError(f"cannot rewind the clock to step {step}: it stands at {self.step}")
        self._set_clock(step)

    def redraw(self, round: int = 1) -> None:
        """Starts again at step 0 from other initial weights of the same distribution, under the masks of today."""
        fresh = self._network(stream_seed(self.seed, "initialisation", round))
        self.rewind(Snapshot(0, fresh.state_dict(), None))

    # -- for the harness ---------------------------------------------------------------------------------------------

    def restore(self, snapshot: Snapshot) -> None:
        """Puts a snapshot into force as it is; unlike `rewind`, it is no event for masks, ticket and best points."""
        self._load(snapshot.state)
        if snapshot.optimizer is None:
            self.optimizer = None
        else:
            self.optimizer = self.optimizer or make_optimizer(self.recipe, self.model)
            restore_state(self.optimizer, snapshot.optimizer)
        self.step = snapshot.step

    def charge_training(self, start: int) -> None:
        """Charges plain training from a step up to now, as if every tick of it had been computed here."""
        steps = self.step - start
        self.ledger.charge(Event("train", start, steps, steps * self.recipe.batch_size, self._kept))

    def check_ended(self) -> None:
        """Raises what has ended this Session, if anything has, whatever the pruner made of it."""
        if self._ended:
            raise self._ended

    def finish(self) -> None:
        """Called by the harness when the pruner returns: no loop may be open, and every weight must be finite."""
        self._check_in_force()
        self._refuse_in_loop("returning from the pruner")
        if not all(bool(value.isfinite().all()) for value in self.model.state_dict().values()):
            raise Diverged(self.step, "a weight that is not finite")
        if self.ticket is None:
            self.ticket = self.snapshot()

    # -- inside ------------------------------------------------------------------------------------------------------

    def _steps(self, until: Until) -> int:
        if until is None:
            return self.total_steps
        if isinstance(until, str):
            return Duration(until).steps(self._stream.steps_per_epoch, self.total_steps)
        return operator.index(until)

    def _forward(self, batch: Batch) -> Tensor:
        with self._autocast():
            logits = self.model(batch.inputs)
            return nn.functional.cross_entropy(logits, batch.labels, label_smoothing=self.recipe.label_smoothing)

    def _autocast(self) -> AbstractContextManager[Any]:
        """The recipe's precision; scores are always computed in float32, so that few of them tie."""
        if self.recipe.precision == "float32" or self._scoring:
            return nullcontext()
        return torch.autocast(next(self.model.parameters()).device.type, torch.bfloat16)

    def _set_clock(self, step: int) -> None:
        self.step = step
        self.ticket = None
        self.monitor.reset()

    def _recall(self, memory: Memory, end: int) -> None:
        """Trains with a memory; what was looked up and what was computed leave the same Session behind."""
        self._check_trainable()
        self._mark_ticket()
        try:
            memory.train(self, end)
        except (Interrupted, Diverged) as error:
            self._ended = error
            raise
        self._parameters = list(self.model.parameters())
        self._clear_gradients()
        self.model.train()

    def _mark_ticket(self) -> None:
        if self.ticket is None:
            self.ticket = Snapshot(self.step, self._state(), None)

    def _open_tick(self) -> Batch:
        self._mark_ticket()
        self._clear_gradients()
        seed_noise(self.seed, "noise", self.step)
        self._tick, self._tick_examples, self._tick_kind, self._tick_loss = self.step, 0, "train", None
        return self._stream.batch(self.step)

    def _end_tick(self) -> None:
        self._tick = None
        self._progress()
        self.spent.steps_computed += 1
        self.ledger.charge(Event(self._tick_kind, self.step, 1, self._tick_examples, self._kept))
        self.step += 1
        if self.step % self._measure_every == 0 or self.step == self.total_steps:
            self._measure()

    def _measure(self) -> None:
        loss, accuracy = evaluate(self.model, self._validation, self._progress)
        training_loss = None if self._tick_loss is None else float(self._tick_loss)
        if not math.isfinite(loss) or not math.isfinite(training_loss or 0):
            self._ended = Diverged(self.step, f"training loss {training_loss}, validation loss {loss}")
            raise self._ended
        measured = Measurement(self.step, sum(self._kept), training_loss, loss, accuracy)
        self.monitor.add(measured, self._state)

    def _charge_pass(self, batch: Batch, *, dense: bool = False) -> None:
        kind = "dense_gradients" if dense else "train"
        self._progress()
        if self._scoring or self._tick is None:
            self.ledger.charge(Event("score", self.step, 0, len(batch.labels), self._kept))
            return
        self._tick_examples += len(batch.labels)
        self._tick_kind = kind if dense else self._tick_kind

    def _set_masks(self, masks: Masks) -> None:
        self.masks = masks
        before, self._kept = self._kept, self._counts()
        if sum(before) != sum(self._kept):
            self.monitor.reset()
        self._masked = [
            (self.weights[name], mask.to(self.weights[name].dtype))
            for (name, mask), count in zip(masks.items(), self._kept, strict=True)
            if count < mask.numel()
        ]
        self._apply_masks()
        # Between ticks the state may still change, by a rewind say, before the masks take force in the next one.
        self.ticket = None if self._tick is None else Snapshot(self.step, self._state(), None)

    @torch.no_grad()
    def _apply_masks(self) -> None:
        for weight, mask in self._masked:
            weight.masked_fill_(mask == 0, 0.0)
        if self.optimizer:
            clean(self.optimizer, dict(self._masked))

    def _counts(self) -> tuple[int, ...]:
        return tuple(masking.kept(self.masks).values())

    def _state(self) -> State:
        return {name: value.detach().clone() for name, value in self.model.state_dict().items()}

    def _load(self, state: State) -> None:
        with torch.no_grad():
            for name, value in self.model.state_dict().items():
                value.copy_(state[name])

    def _trainable(self) -> list[nn.Parameter]:
        return [parameter for parameter in self.model.parameters() if parameter.requires_grad]

    def _check_in_force(self) -> None:
        """Raises what has ended this Session, and SessionError where somebody has written into the masks."""
        self.check_ended()
        forced = dict(self._masked)
        for name, mask in self.masks.items():
            wanted = forced.get(self.weights[name])
            if not bool(mask.all() if wanted is None else (mask == (wanted != 0)).all()):
                raise SessionError(f"the mask of layer {name!r} was written to; use prune(), adopt() or rewire()")

    def _check_trainable(self) -> None:
        if self.optimizer is None:
            return
        owned = {id(parameter) for group in self.optimizer.param_groups for parameter in group["params"]}
        if owned != {id(parameter) for parameter in self._trainable()}:
            raise SessionError("what is trainable has changed since the first update; freeze or add weights before it")

    def _clear_gradients(self) -> None:
        for parameter in self._parameters:
            parameter.grad = None

    def _refuse_in_loop(self, what: str) -> None:
        if self._loop_open:
            raise SessionError(f"{what} inside an open loop over batches(): leave the loop first")

    def _refuse_outside_tick(self, what: str) -> None:
        if self._tick is None:
            raise SessionError(f"{what} outside a tick: call it once for every batch of batches()")
