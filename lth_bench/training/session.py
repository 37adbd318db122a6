"""The Session: a model, its training data and a clock, for a pruner to drive."""

from __future__ import annotations

import copy
import math
import operator
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn
from torch.nn.utils import parametrize

from lth_bench.data.batches import BatchOrder
from lth_bench.data.examples import Batch, Source
from lth_bench.errors import Diverged, Interrupted, MaskError, SessionError
from lth_bench.experiments.durations import Duration
from lth_bench.experiments.recipe import Recipe, Schedule
from lth_bench.models.flops import Passage, PausableMeter, passage
from lth_bench.models.layer_roles import output_layer, prunable
from lth_bench.models.modes import mode
from lth_bench.models.predictions import evaluate, nothing
from lth_bench.pruning import channels as channelling
from lth_bench.pruning import masks as masking
from lth_bench.pruning import parametrisation
from lth_bench.pruning.masks import Masks, Scores
from lth_bench.randomness import generator, kept_noise, noise, stream_seed
from lth_bench.storage.tensors import State
from lth_bench.training.clock import Ahead
from lth_bench.training.fast_step import advance, backward
from lth_bench.training.ledger import Ledger, Spent
from lth_bench.training.monitor import Measurement, Monitor
from lth_bench.training.optimizers import clean, make_optimizer, restore_state

if TYPE_CHECKING:
    from lth_bench.training.memory import Memory

Until = int | str | None


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
        self.channels: Masks = {}
        self.elements: dict[str, int] = {}
        self.notes: dict[str, Any] = {}
        self.rng = generator(setup.seed, "method")
        self.step = 0
        self.optimizer: torch.optim.Optimizer | None = None
        self.monitor = Monitor()
        self.ledger = Ledger()
        self.spent = Spent()
        self.ticket: Snapshot | None = None
        self._memory, self._progress = setup.memory, setup.progress
        self._ended: Interrupted | Diverged | None = None
        self._network, self._prunable, self._validation = setup.network, setup.prunable, setup.validation
        self._stream = BatchOrder(setup.training, setup.recipe, setup.seed)
        self._start_noise = noise(next(self.model.parameters()).device)
        self._noise_seeds = Ahead(lambda step: stream_seed(setup.seed, "noise", step))
        self._follow(self.recipe)
        self._loop_open = self._scoring = self._inverted = False
        self._precision: torch.dtype | None = None
        self._tick: int | None = None
        self._tick_examples, self._tick_kind = 0, "train"
        self._tick_loss: Tensor | None = None
        self._kept = self._counts()
        self._held, self._tick_kept = sum(self._kept), self._kept
        self._gauge = PausableMeter(lambda: self.weights, self._charge_flops)
        self._structure: channelling.Structure | None = None
        self._passage: Passage | None = None
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

    @property
    def schedule(self) -> Schedule:
        """The learning rate by step."""
        return self._schedule

    @property
    def norms(self) -> dict[str, nn.Module]:
        """By layer, the batch norm that takes its output as it is, for layers that have one with scales and shifts."""
        return dict(self._anatomy().norms)

    def steps(self, until: Until) -> int:
        """The step that a duration from the start, or a step, comes to; None is the recipe's end."""
        if until is None:
            return self.total_steps
        if isinstance(until, str):
            return Duration(until).steps(self._stream.steps_per_epoch, self.total_steps)
        return operator.index(until)

    # -- training ----------------------------------------------------------------------------------------------------

    def train(self, until: Until = None) -> None:
        """Trains up to a step, a duration from the start ('500it', '2ep', '10%') or, by default, the recipe's end.

        The same segment from the same state is computed once and looked up after that, where there is a memory.
        """
        self._refuse_in_loop("train()")
        self._check_in_force()
        end = self.steps(until)
        if self._memory is None or end <= self.step:
            self.compute(end)
        else:
            with self._gauge.paused():
                self._recall(self._memory, end)
        self._start_noise(self._noise_seeds[self.step])

    def compute(self, until: Until) -> None:
        """What `train` does where nothing is looked up."""
        for batch in self._ticks(self.steps(until)):
            backward(self.loss(batch))
            self.update()

    def batches(self, until: Until = None) -> Iterator[Batch]:
        """Training batches; each is one tick of the clock and starts with cleared gradients."""
        self._refuse_in_loop("batches()")
        self._check_in_force()
        yield from self._ticks(self.steps(until))

    def logits(self, inputs: Tensor) -> Tensor:
        """The network's outputs, N × classes, for N inputs; charged as one pass both ways."""
        self._charge_pass(len(inputs))
        return self._forward(inputs)

    def loss(self, batch: Batch) -> Tensor:
        """Mean cross-entropy of a batch, in nats, with the recipe's label smoothing; charged as one pass both ways."""
        self._charge_pass(batch.labels.shape[0])
        return self._loss(batch)

    def update(self) -> None:
        """One optimiser step at this tick's learning rate; pruned weights and their optimiser state stay zero."""
        if self._tick is None:
            raise self._outside_tick("update()")
        if self.optimizer is None:
            self.optimizer = make_optimizer(self.recipe, self.model)
        rate = self._rates[self.step]
        for group in self.optimizer.param_groups:
            group["lr"] = rate
        gradients, masks = [], []
        for weight, mask in self._masked:
            if (gradient := weight.grad) is not None:
                gradients.append(gradient)
                masks.append(mask)
        if gradients:
            torch._foreach_mul_(gradients, masks)
        advance(self.optimizer)
        self._end_tick()

    def dense_gradients(self, batch: Batch) -> dict[str, Tensor]:
        """Gradients of the training loss for all prunable weights, pruned ones too."""
        self._charge_pass(len(batch.labels), dense=True)
        loss = self._loss(batch)
        return dict(zip(self.weights, torch.autograd.grad(loss, list(self.weights.values())), strict=True))

    # -- pruning -----------------------------------------------------------------------------------------------------

    def prune(self, scores: Scores, sparsity: float | Mapping[str, float] | None = None) -> None:
        """Keeps the highest scores: over all layers to a float (by default the target), in each layer to a dict.

        The count is exact, ties go to the earlier weight, and what is pruned stays pruned. Raises MaskError for scores
        that do not fit and for a target that would leave no weight at all.
        """
        scores = self._ranked(scores)
        masks = masking.pruned(scores, self.masks, self.sparsity if sparsity is None else sparsity)
        if not any(masking.kept(masks).values()):
            raise MaskError(f"a sparsity of {sparsity or self.sparsity} would leave no weight at all")
        self._set_masks(masks)

    def adopt(self, masks: Masks, channels: Masks | None = None) -> None:
        """Prunes by given masks, a ticket's for instance; what is pruned stays pruned. Raises MaskError.

        `channels`, by layer, are those kept: of the others, biases and the norm's scales and shifts go as well.
        """
        masking.check_masks(masks, self.masks)
        for name, channel in (channels or {}).items():
            mine = channel.to(self.masks[name].device)
            self.channels[name] = self.channels.get(name, mine) & mine
        self._set_masks({name: mask & masks[name].to(mask.device) for name, mask in self.masks.items()})

    def channel_masks(self, scores: Scores, sparsity: float | None = None) -> Masks:
        """The output channels, by layer, that `prune_channels` would keep."""
        return self._chosen_channels(scores, sparsity)[0]

    def prune_channels(self, scores: Scores, sparsity: float | None = None) -> None:
        """Removes output channels of lowest score, over all layers named, until the sparsity is reached.

        It ends at or above it by less than one channel; the best channel of every layer stays. With a channel go its
        filter and bias, scale and shift of the batch norm behind it, and weights that read nothing else. Raises
        MaskError.
        """
        channels, masks = self._chosen_channels(scores, sparsity)
        self.adopt(masks, channels)

    @contextmanager
    def inverted(self) -> Iterator[None]:
        """Inside, `prune` and `prune_channels` keep the lowest scores."""
        before, self._inverted = self._inverted, not self._inverted
        try:
            yield
        finally:
            self._inverted = before

    # -- other weights -----------------------------------------------------------------------------------------------

    def parametrize(self, make: parametrisation.Make) -> dict[str, nn.Module]:
        """Computes every prunable weight by the module that `make(layer, weight)` gives, by layer; before any update.

        In evaluation mode such a module gives the weight that is evaluated. What it is computed from stands in
        `weights`, unless that is several tensors.
        """
        self._refuse_in_loop("parametrize()")
        if self.optimizer is not None:
            raise SessionError("parametrize() after the first update; call it before")
        with self._gauge.paused():
            made = parametrisation.register(self.model, self.weights, make)
        self._parameters = list(self.model.parameters())
        return made

    def bake(self) -> None:
        """Ends all parametrisations: every weight becomes plainly what it is in evaluation mode."""
        self._refuse_in_loop("bake()")
        with self._gauge.paused():
            parametrisation.bake(self.model)
        self.weights, self.optimizer, self._structure = self._prunable(self.model), None, None
        self._parameters = list(self.model.parameters())
        self._enforce_masks()

    def rewire(self, masks: Masks) -> None:
        """Replaces the masks and ends the tick in place of an update; new weights start at zero, with empty state."""
        if self._tick is None:
            raise self._outside_tick("rewire()")
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
    def scoring(self, *, training: bool = False, precision: torch.dtype | None = None) -> Iterator[None]:
        """Inside, do to the network what a score needs; on leaving, all of it is undone.

        Weights, buffers, gradients, modes and random state come back as they were. `training` chooses batch
        statistics and dropout over running statistics; with a `precision`, the network and its inputs are in it.
        """
        state = self._state()
        gradients = [(parameter, parameter.grad) for parameter in self.model.parameters()]
        self._clear_gradients()
        outer = self._scoring, self._precision
        self._scoring, self._precision = True, precision or self._precision
        try:
            with kept_noise(next(self.model.parameters()).device), mode(self.model, training=training):
                self._start_noise(stream_seed(self.seed, "score", self.step))
                self.model.to(precision)
                with self._gauge.on():
                    yield
        finally:
            self._scoring, self._precision = outer
            self._come_back(state)
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

    def stretch(self, factor: float) -> None:
        """Makes the recipe last `factor` times as long from now on, its warm-up and milestones with it."""
        self._refuse_in_loop("stretch()")
        self._follow(self.recipe.stretched(factor))

    def redraw(self, round: int = 1) -> None:
        """Starts again at step 0 from other initial weights of the same distribution, under the masks of today."""
        fresh = self._network(stream_seed(self.seed, "initialisation", round))
        self.rewind(Snapshot(0, fresh.state_dict(), None))

    def note(self, name: str, value: float | str | list[float]) -> None:
        """Keeps a fact about the search in the record, under `notes`."""
        self.notes[name] = value

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

    def metered(self) -> AbstractContextManager[None]:
        """Inside, what is computed outside ticks is measured and charged, as it always is in `scoring`."""
        return self._gauge.on()

    def flops(self, masks: Masks) -> float:
        """FLOPs of one image's forward pass when the weights that these masks keep are left."""
        if self._passage is None:
            with self._gauge.paused():
                self._passage = passage(self.model, self.weights, self.input_shape)
        return self._passage.flops(masking.kept(masks), {name: mask.numel() for name, mask in self.masks.items()})

    def charge_training(self, start: int) -> None:
        """Charges plain training from a step up to now, as if every tick of it had been computed here."""
        steps = self.step - start
        self.ledger.charge("train", start, steps, steps * self.recipe.batch_size, self._kept)

    def check_ended(self) -> None:
        """Raises what has ended this Session, if anything has, whatever the pruner made of it."""
        if self._ended:
            raise self._ended

    def finish(self) -> None:
        """Called by the harness when the pruner returns: no loop may be open, and every weight must be finite.

        Weights that are still computed from something else are from now on what they were in evaluation mode.
        """
        self._check_in_force()
        self._refuse_in_loop("returning from the pruner")
        if parametrisation.parametrised(self.model):
            self.elements = parametrisation.elements(self.model)
            self.bake()
        if not all(bool(value.isfinite().all()) for value in self.model.state_dict().values()):
            raise Diverged(self.step, "a weight that is not finite")
        if self.ticket is None:
            self.ticket = self.snapshot()

    # -- inside ------------------------------------------------------------------------------------------------------

    def _ticks(self, end: int) -> Iterator[Batch]:
        if end < self.step:
            raise SessionError(f"cannot train until step {end}: the clock stands at {self.step}")
        self._check_trainable()
        self._parameters = list(self.model.parameters())
        self._loop_open = True
        self.model.train()
        try:
            with self._gauge.paused():
                while self.step < end:
                    yield self._open_tick()
                    if self._tick is not None:
                        self._end_tick()
        finally:
            if self._tick is not None and self._tick_examples:
                self.ledger.charge(self._tick_kind, self.step, 0, self._tick_examples, self._tick_kept)
            self._loop_open, self._tick, self._tick_loss = False, None, None
            self._clear_gradients()

    def _follow(self, recipe: Recipe) -> None:
        self.recipe, self._schedule = recipe, Schedule(recipe, self._stream.steps_per_epoch)
        self._rates = Ahead(self._schedule.rate)
        self.total_steps = self._schedule.total
        self._measure_every = max(1, self.steps(recipe.measure_every))

    def _forward(self, inputs: Tensor) -> Tensor:
        """Outputs, computed by the recipe's precision; scores never see a lower one, so that few of them tie."""
        if self._scoring or self.recipe.precision == "float32":
            logits: Tensor = self.model(inputs if self._precision is None else inputs.to(self._precision))
        else:
            with torch.autocast(inputs.device.type, torch.bfloat16):
                logits = self.model(inputs).float()
        return logits

    def _loss(self, batch: Batch) -> Tensor:
        logits = self._forward(batch.inputs)
        loss = nn.functional.cross_entropy(logits, batch.labels, label_smoothing=self.recipe.label_smoothing)
        if not self._scoring:
            self._tick_loss = loss
        return loss

    def _ranked(self, scores: Scores) -> Scores:
        return {name: -score for name, score in scores.items()} if self._inverted else scores

    def _anatomy(self) -> channelling.Structure:
        if self._structure is None:
            with self._gauge.paused():
                self._structure = channelling.structure(self.model, self.weights, self.input_shape)
        return self._structure

    def _chosen_channels(self, scores: Scores, sparsity: float | None) -> tuple[Masks, Masks]:
        target = self.sparsity if sparsity is None else sparsity
        return channelling.chosen(self._anatomy(), self.masks, self._ranked(scores), target, self.channels)

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
            self.ticket = Snapshot(self.step, self._dense_state(), None)

    def _open_tick(self) -> Batch:
        if self.ticket is None:
            self._mark_ticket()
        for parameter in self._parameters:
            parameter.grad = None
        self._start_noise(self._noise_seeds[self.step])
        self._tick, self._tick_examples, self._tick_kind, self._tick_loss = self.step, 0, "train", None
        self._tick_kept = self._kept
        return self._stream.batch(self.step)

    def _end_tick(self) -> None:
        self._tick = None
        if not self._tick_examples:  # else its passes have told
            self._progress()
        self.spent.steps_computed += 1
        self.ledger.charge(self._tick_kind, self.step, 1, self._tick_examples, self._tick_kept)
        self.step += 1
        if self.step % self._measure_every == 0 or self.step == self.total_steps:
            self._measure()

    def _measure(self) -> None:
        with parametrize.cached():
            loss, accuracy = evaluate(self.model, self._validation, self._progress)
        training_loss = None if self._tick_loss is None else float(self._tick_loss.detach())
        if not math.isfinite(loss) or not math.isfinite(training_loss or 0):
            self._ended = Diverged(self.step, f"training loss {training_loss}, validation loss {loss}")
            raise self._ended
        if parametrisation.parametrised(self.model):
            self._hold(parametrisation.nonzero_count(self._dense_state(), self.weights))
        measured = Measurement(self.step, self._held, training_loss, loss, accuracy)
        self.monitor.add(measured, self._dense_state)

    def _hold(self, left: int) -> None:
        """The best points are those of the sparsity that holds."""
        if left != self._held:
            self.monitor.reset()
        self._held = left

    def _charge_pass(self, examples: int, *, dense: bool = False) -> None:
        self._progress()
        if self._scoring or self._tick is None:
            self.ledger.charge("score", self.step, 0, examples, self._kept)
            return
        self._tick_examples += examples
        if dense:
            self._tick_kind = "dense_gradients"

    def _charge_flops(self, name: str, flops: int) -> None:
        """Charges a product that was computed outside ticks, and the share of it that masks leave."""
        mask, kept = self.masks.get(name), dict(zip(self.masks, self._kept, strict=True))
        sparse = flops if mask is None else round(flops * kept[name] / mask.numel())
        self.ledger.charge("score", self.step, 0, 0, self._kept, flops, sparse)

    def _set_masks(self, masks: Masks) -> None:
        self.masks = masks
        self._kept = self._counts()
        if not parametrisation.parametrised(self.model):
            self._hold(sum(self._kept))
        self._enforce_masks()
        # Between ticks the state may still change, by a rewind say, before the masks take force in the next one.
        self.ticket = None if self._tick is None else Snapshot(self.step, self._dense_state(), None)

    def _enforce_masks(self) -> None:
        self._masked = [
            (self.weights[name], mask.to(self.weights[name].dtype))
            for (name, mask), count in zip(self.masks.items(), self._kept, strict=True)
            if count < mask.numel()
        ]
        if self.channels:
            self._masked += [(p, mask.to(p.dtype)) for p, mask in channelling.gates(self._anatomy(), self.channels)]
        self._apply_masks()

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

    def _dense_state(self) -> State:
        """The state of the network that is evaluated."""
        return {name: value.clone() for name, value in parametrisation.dense_state(self.model).items()}

    def _load(self, state: State) -> None:
        mine = self.model.state_dict()
        if mine.keys() != state.keys():
            raise SessionError("a snapshot is of a network whose weights were computed otherwise; take one after that")
        with torch.no_grad():
            for name, value in mine.items():
                value.copy_(state[name])

    def _come_back(self, state: State) -> None:
        """Undoes what was done to values and their types."""
        for name, value in self.model.named_parameters():
            if name in state:
                value.data = value.data.to(state[name].dtype)
        for module, prefix in ((module, f"{path}." if path else "") for path, module in self.model.named_modules()):
            for name, buffer in module._buffers.items():
                if buffer is not None and f"{prefix}{name}" in state:
                    module._buffers[name] = buffer.to(state[f"{prefix}{name}"].dtype)
        self._load(state)

    def _trainable(self) -> list[nn.Parameter]:
        return [parameter for parameter in self.model.parameters() if parameter.requires_grad]

    def _check_in_force(self) -> None:
        """Raises what has ended this Session, and SessionError where somebody has written into the masks."""
        self.check_ended()
        forced = dict(self._masked)
        for name, mask in self.masks.items():
            wanted = forced.get(self.weights[name])
            right = mask if wanted is None else mask == wanted.bool()
            if not right.view(torch.uint8).all():  # as bytes it takes a fifteenth of the time
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

    def _outside_tick(self, what: str) -> SessionError:
        return SessionError(f"{what} outside a tick: call it once for every batch of batches()")
