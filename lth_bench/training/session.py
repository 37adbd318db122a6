"""The Session: a model, its training data and a clock, for a pruner to drive."""

from __future__ import annotations

import operator
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from lth_bench.data.batches import BatchOrder
from lth_bench.data.examples import Batch
from lth_bench.errors import Diverged, Interrupted, SessionError
from lth_bench.experiments.recipe import Recipe, Schedule
from lth_bench.models.layer_roles import output_layer
from lth_bench.models.modes import mode
from lth_bench.pruning import masks as masking
from lth_bench.pruning import parametrisation
from lth_bench.pruning.masks import Masks, Scores
from lth_bench.randomness import generator, kept_noise, stream_seed
from lth_bench.training import notes, state
from lth_bench.training.account import Account
from lth_bench.training.clock import Clock, Until
from lth_bench.training.course import Course
from lth_bench.training.fast_step import advance, backward
from lth_bench.training.optimizers import check_trainable, complete_gradients, make_optimizer, restored
from lth_bench.training.passes import Passes
from lth_bench.training.setup import Setup, SharedTraining
from lth_bench.training.state import Snapshot
from lth_bench.training.topology import Sparsity, Topology


class Session:
    """A model, its training data and a clock.

    `sparsity` is the target and `step` the clock. Learning rate, data order and noise are pure functions of
    (seed, step), so a rewind needs an int and some tensors. Under a `pattern` such as 2:4 the target is the sparsity of
    the network in which every layer that can holds it; without one, `pattern` is None.
    """

    def __init__(self, setup: Setup) -> None:
        self.model = setup.network(stream_seed(setup.seed, "initialisation"))
        self.order = BatchOrder(setup.training, setup.recipe, setup.seed)
        self.clock = Clock(setup.recipe, setup.seed, self.order.steps_per_epoch, next(self.model.parameters()).device)
        weights = setup.prunable(self.model)
        self.topology = Topology(self.model, weights, self.input_shape, lambda: self.account.unmetered(), setup.pattern)
        self.pattern, self.sparsity = setup.pattern, self.topology.target(setup.sparsity)
        self.account = Account(self.clock, self.topology, setup.progress)
        self.course = Course(self.model, setup, sum(self.topology.kept))
        self.output_layer = output_layer(self.model)
        self.elements: dict[str, int] = {}
        self.notes: dict[str, Any] = {}
        self.rng = generator(setup.seed, "method")
        self.optimizer: torch.optim.Optimizer | None = None
        self._network, self._memory, self._observer = setup.drawn or setup.network, setup.memory, setup.observer
        self._passes = Passes(self.model, self.clock, self.account)
        self._parameters, self._infinite = list(self.model.parameters()), state.infinite_places(self.model)
        if setup.memory:
            setup.memory.attach(self)
        if setup.observer:
            setup.observer.attach(self)

    @property
    def step(self) -> int:
        """The step that training has reached."""
        return self.clock.step

    @property
    def recipe(self) -> Recipe:
        """The recipe in force."""
        return self.clock.recipe

    @property
    def schedule(self) -> Schedule:
        """The learning rate by step."""
        return self.clock.schedule

    @property
    def total_steps(self) -> int:
        """The recipe's length."""
        return self.clock.total

    @property
    def seed(self) -> int:
        """The experiment's seed."""
        return self.clock.seed

    @property
    def weights(self) -> dict[str, nn.Parameter]:
        """The prunable weights by layer."""
        return self.topology.weights

    @property
    def masks(self) -> Masks:
        """By layer, True where a weight is kept; read only."""
        return self.topology.masks

    @property
    def channels(self) -> Masks:
        """By layer, True where an output channel is kept; layers that have lost none are absent."""
        return self.topology.channels

    @property
    def shapes(self) -> dict[str, tuple[int, ...]]:
        """Shapes of the prunable weights by layer."""
        return self.topology.shapes

    @property
    def input_shape(self) -> tuple[int, ...]:
        """Channels, height and width of an input."""
        return self.order.data.shape

    @property
    def norms(self) -> dict[str, nn.Module]:
        """By layer, the batch norm right behind it, for layers that have one with scales and shifts."""
        return dict(self.topology.structure.norms)

    def steps(self, until: Until) -> int:
        """The step at the end of a duration counted from step 0; a step is itself, None is the recipe's end."""
        return self.clock.steps(until)

    def train(self, until: Until = None) -> None:
        """Trains up to a step, a duration from the start ('500it', '2ep', '10%') or, by default, the recipe's end.

        With a memory, the same segment from the same state is computed once and looked up after that.
        """
        with self._at_work():
            self.account.refuse("train()")
            self._check_in_force()
            end = self.steps(until)
            if self._memory is None or end <= self.step:
                self.compute(end)
            else:
                with self.account.unmetered():
                    self._recall(self._memory, end)
            self.clock.start_noise()

    def compute(self, until: Until) -> None:
        """Trains up to a step without looking anything up."""
        for batch in self._ticks(self.steps(until)):
            backward(self.loss(batch))
            self.update()

    def batches(self, until: Until = None) -> Iterator[Batch]:
        """Training batches; each is one tick of the clock and starts with cleared gradients."""
        self.account.refuse("batches()")
        self._check_in_force()
        for batch in self._ticks(self.steps(until)):
            with self.account.extra:
                yield batch

    def logits(self, inputs: Tensor) -> Tensor:
        """The network's outputs, N × classes, for N inputs; charged as a training pass."""
        return self.account.own_pass(self._passes.forward, inputs)

    def loss(self, batch: Batch) -> Tensor:
        """Mean cross-entropy of a batch, in nats, with the recipe's label smoothing; charged as a training pass."""
        return self.account.own_pass(self._passes.loss, batch)

    def update(self) -> None:
        """One optimiser step at this tick's learning rate; pruned weights and their optimiser state stay zero."""
        self.account.in_tick("update()", self._update)

    def dense_gradients(self, batch: Batch) -> dict[str, Tensor]:
        """Gradients of the training loss for all prunable weights, pruned ones too."""
        return self.account.own_pass(self._passes.dense_gradients, batch, self.weights)

    def prune(self, scores: Scores, sparsity: Sparsity | None = None) -> None:
        """Keeps the highest scores: over all layers to a float (by default the target), in each layer to a dict.

        The count is exact, ties go to the earlier weight, and what is pruned stays pruned. Under a pattern, the best of
        each group and layers that cannot hold it are kept; at the target, nothing else is. Raises MaskError for scores
        that do not fit and for a target that would leave no weight at all.
        """
        self.account.refuse_scoring("prune()")
        self._set_masks(self.topology.pruned(scores, self.sparsity if sparsity is None else sparsity))

    def adopt(self, masks: Masks, channels: Masks | None = None, weights: Scores | None = None) -> None:
        """Prunes by given masks, a ticket's for instance; what is pruned stays pruned. Raises MaskError.

        `channels` are the output channels kept, by layer; the others lose their biases and the scales and shifts of
        the norm behind them as well. `weights` are new values of what is kept, by layer.
        """
        self.account.refuse_scoring("adopt()")
        self._set_masks(self.topology.within(masks, channels or {}), weights=weights or {})

    def channel_masks(self, scores: Scores, sparsity: float | None = None) -> Masks:
        """The output channels, by layer, that `prune_channels` would keep."""
        return self.topology.chosen_channels(scores, self.sparsity if sparsity is None else sparsity)[0]

    def prune_channels(self, scores: Scores, sparsity: float | None = None) -> None:
        """Removes output channels of lowest score, over all layers named, until the sparsity is reached.

        It ends at or above the sparsity by less than one channel; the best channel of every layer stays. A channel
        takes with it its filter and bias, scale and shift of the batch norm behind it, and weights that read nothing
        else. Raises MaskError, and Unsuitable under a pattern.
        """
        channels, masks = self.topology.chosen_channels(scores, self.sparsity if sparsity is None else sparsity)
        self.adopt(masks, channels)

    def inverted(self) -> AbstractContextManager[None]:
        """Inside, `prune` and `prune_channels` keep the lowest scores."""
        return self.topology.inverted()

    def parametrize(self, make: parametrisation.Make) -> dict[str, nn.Module]:
        """Computes every prunable weight by the module that `make(layer, weight)` gives, by layer; before any update.

        In evaluation mode such a module gives the weight that is evaluated. `weights` then holds the tensors from
        which weights are computed, except where a weight is computed from several. Under a pattern, modules that give
        weights in it have it as their attribute `pattern`; Unsuitable is raised where none does. Modules whose training
        passes use only some weights declare the shares `forward_density` and `backward_density` (those with gradients).
        """
        self.account.refuse("parametrize()")
        if self.optimizer is not None:
            raise SessionError("parametrize() after the first update; call it before")
        with self._at_work(), self.account.unmetered():
            modules = parametrisation.register(self.model, self.weights, make)
            self.topology.compute_by(modules)
            self._parameters = list(self.model.parameters())
        return modules

    def bake(self) -> None:
        """Ends all parametrisations: every weight becomes a plain tensor with its value in evaluation mode."""
        self.account.refuse("bake()")
        with self._at_work():
            with self.account.unmetered():
                parametrisation.bake(self.model)
            self.optimizer, self._parameters = None, list(self.model.parameters())
            self.topology.rebuild()
            self.course.pruned(self.step, sum(self.topology.kept))

    def rewire(self, masks: Masks) -> None:
        """Replaces the masks, after an update or in place of it; new weights start at zero, with empty state."""
        self.account.require_loop("rewire()")
        self.topology.require_no_pattern("replaces masks in training")
        masking.check_masks(masks, self.masks)
        self._set_masks({name: masks[name].clone() for name in self.masks}, rewired=True)
        if self.account.tick_open:
            self._close_tick()

    def sample(self, count: int, round: int = 0) -> Batch:
        """`count` training examples to score on, a pure function of (seed, step, round)."""
        return self.order.sample(count, ("sample", self.step, round))

    def balanced_sample(self, per_class: int, round: int = 0) -> Batch:
        """`per_class` training examples of every class, sorted by class, to score on."""
        return self.order.balanced_sample(per_class, ("balanced sample", self.step, round))

    @contextmanager
    def scoring(self, *, training: bool = False, precision: torch.dtype | None = None) -> Iterator[None]:
        """Inside, do to the network what a score needs; on leaving, all of it is undone.

        Weights, buffers, gradients, modes, optimiser and random state come back as they were; calls that would change
        masks, clock or parametrisations are refused. `training` chooses batch statistics and dropout over running
        statistics; with a `precision`, the network and its inputs are in it.
        """
        if self._observer:
            self._observer.entered()
        optimizer, saved = self.optimizer, state.saved_optimizer(self.optimizer)
        outer = self.account.scoring, self._passes.precision
        self.account.scoring, self._passes.precision = True, precision or self._passes.precision
        try:
            noise = kept_noise(next(self.model.parameters()).device)
            with state.undone(self.model), noise, mode(self.model, training=training):
                self.clock.start_scoring_noise()
                state.convert(self.model, precision)
                with self.account.metered():  # it knows weights by their places in memory, which have changed
                    yield
        finally:
            self.account.scoring, self._passes.precision = outer
            self.optimizer = restored(optimizer, saved, self.recipe, self.model)

    def snapshot(self) -> Snapshot:
        """Weights, buffers, optimiser state and clock, to go back to; not the masks."""
        self.account.refuse("snapshot()")
        return Snapshot(self.step, state.copied(self.model), state.saved_optimizer(self.optimizer))

    def rewind(self, snapshot: Snapshot) -> None:
        """Goes back to a snapshot, under the masks in force now."""
        self.account.refuse("rewind()")
        state.check_snapshot(snapshot)
        with self._at_work():
            self.restore(snapshot)
            self.topology.apply(self.optimizer)
            self.course.restart()

    def rewind_clock(self, step: int) -> None:
        """Sets the clock back; weights and optimiser state stay."""
        self.account.refuse("rewind_clock()")
        if not 0 <= (step := operator.index(step)) <= self.step:
            raise SessionError(f"cannot rewind the clock to step {step}: it stands at {self.step}")
        self.clock.step = step
        self.course.restart()

    def stretch(self, factor: float) -> None:
        """Makes the recipe `factor` times as long, its warm-up and milestones with it."""
        self.account.refuse("stretch()")
        self.clock.follow(self.recipe.stretched(factor))

    def redraw(self, round: int = 1) -> None:
        """Starts again at step 0 from newly drawn initial weights, never from a file, under the masks in force now.

        Inside `scoring()` the weights are drawn again and the clock stands still.
        """
        if parametrisation.parametrised(self.model):
            raise SessionError("redraw() while modules compute weights; call it before parametrize() or after bake()")
        with self.account.unmetered():
            fresh = self._network(stream_seed(self.seed, "initialisation", round)).state_dict()
        if self.account.scoring:
            state.load(self.model, fresh)
            self.topology.apply(None)
        else:
            self.rewind(Snapshot(0, fresh, None))

    def note(self, name: str, value: notes.Value) -> None:
        """Keeps a number, a text or a list of these in the record, under `notes`. Raises SessionError for others."""
        self.notes[name] = notes.plain(name, value)

    def restore(self, snapshot: Snapshot) -> None:
        """Loads a snapshot; unlike `rewind`, leaves masks, ticket and best points alone."""
        state.load(self.model, snapshot.state)
        self.optimizer = restored(self.optimizer, snapshot.optimizer, self.recipe, self.model)
        self.clock.step = snapshot.step

    def flops(self, masks: Masks) -> float:
        """FLOPs of one image's forward pass through the weights that these masks keep."""
        return self.topology.flops(masks)

    def finish(self) -> None:
        """Called by the harness when the pruner returns: no loop may be open, and what was finite must still be so.

        A weight that is still computed from something else becomes a plain tensor with its value in evaluation mode.
        """
        if self._observer:
            self._observer.entered()
        self._check_in_force()
        self.account.refuse("returning from the pruner")
        if parametrisation.parametrised(self.model):
            self.elements = parametrisation.elements(self.model)
            self.bake()
        if name := state.diverged(self.model, self._infinite):
            raise Diverged(self.step, f"values of {name!r} that are not finite")
        self.course.mark_ticket(self.step)
        if self._observer:
            self._observer.finished()

    @contextmanager
    def _at_work(self) -> Iterator[None]:
        """Tells the observer where the Session's own work begins and ends."""
        if self._observer:
            self._observer.entered()
        yield
        if self._observer:
            self._observer.left()

    def _ticks(self, end: int) -> Iterator[Batch]:
        self.clock.check_ahead(end)
        check_trainable(self.optimizer, self.model)
        self._parameters = list(self.model.parameters())
        self.account.loop_open = True
        self.model.train()
        try:
            with self.account.unmetered():
                while self.clock.step < end:
                    yield self._open_tick()
                    if self.account.tick_open:
                        self._close_tick()
        finally:
            self.account.abandon_tick()
            self.account.loop_open = False
            self._clear_gradients()
            if self._observer:
                self._observer.left()

    def _open_tick(self) -> Batch:
        if self._observer:
            self._observer.entered()
        self.account.refuse_scoring("the next batch of batches()")
        if self.course.ticket is None:
            self.course.mark_ticket(self.step)
        self._clear_gradients()
        self.clock.start_noise()
        self.account.open_tick()
        batch = self.order.batch(self.clock.step)
        if self._observer:
            self._observer.tick_opened()
        return batch

    def _close_tick(self) -> None:
        if self._observer:
            self._observer.tick_closed()
        self.account.close_tick()
        self.clock.step += 1
        if self.clock.measures():
            self.course.measure(self.step, self.account.loss, self.weights)

    def _update(self) -> None:
        self.optimizer = self.optimizer or make_optimizer(self.recipe, self.model)
        for group in self.optimizer.param_groups:
            group["lr"] = self.clock.rate()
        complete_gradients(self.optimizer)
        self.topology.mask_gradients()
        advance(self.optimizer)
        self._close_tick()

    def _recall(self, memory: SharedTraining[Session], end: int) -> None:
        """Trains with a memory; the Session ends the same whether the memory computed or looked up."""
        self.clock.check_ahead(end)
        check_trainable(self.optimizer, self.model)
        self.course.mark_ticket(self.step)
        try:
            memory.train(self, end)
        except (Interrupted, Diverged) as error:
            self.course.ended = error
            raise
        self._parameters = list(self.model.parameters())
        self._clear_gradients()
        self.model.train()

    def _set_masks(self, masks: Masks, *, rewired: bool = False, weights: Scores | None = None) -> None:
        with self._at_work():
            self.topology.set(masks, self.optimizer, weights or {})
            self.course.pruned(self.step, sum(self.topology.kept))
            if not parametrisation.parametrised(self.model):
                self.course.count(sum(self.topology.kept))
            # Between ticks the state may still change, by a rewind say; the next tick then marks the ticket.
            self.course.ticket = None
            if self.account.tick_open:
                self.course.mark_ticket(self.step)
            if self._observer:
                self._observer.masks_set(rewired=rewired)

    def _check_in_force(self) -> None:
        """Raises the exception that ended this Session, or SessionError where a mask was written to."""
        self.course.check()
        self.topology.check_unwritten()

    def _clear_gradients(self) -> None:
        for parameter in self._parameters:
            parameter.grad = None
