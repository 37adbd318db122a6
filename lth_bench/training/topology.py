"""The topology of a Session's network: which weights are kept, and how masks come into force."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from typing import NamedTuple

import torch
from torch import Tensor, nn

from lth_bench.errors import MaskError, SessionError, Unsuitable
from lth_bench.experiments.patterns import Pattern
from lth_bench.models.flops import Passage, passage
from lth_bench.pruning import channels as channelling
from lth_bench.pruning import masks as masking
from lth_bench.pruning import parametrisation, patterns
from lth_bench.pruning.masks import Masks, Scores
from lth_bench.training.optimizers import clean

Sparsity = float | Mapping[str, float]


class Used(NamedTuple):
    """Numbers of weights by layer: those that a training pass reads, and those with gradients, where they differ."""

    kept: tuple[int, ...]
    gradients: tuple[int, ...] | None = None


class Topology:
    """The prunable weights of a network and their masks; `channels` holds the kept output channels of thinned layers.

    `kept` counts the weights kept by layer, in the order of `masks`. Under a `pattern`, pruning never breaks it.
    """

    def __init__(
        self,
        model: nn.Module,
        weights: dict[str, nn.Parameter],
        input_shape: tuple[int, ...],
        unmetered: Callable[[], AbstractContextManager[None]],
        pattern: Pattern | None = None,
    ) -> None:
        self._model, self._input_shape, self._unmetered = model, input_shape, unmetered
        self.pattern = pattern
        self.weights, self.masks = weights, masking.full(weights)
        self.channels: Masks = {}
        self._inverted = False
        self._computed: Mapping[str, nn.Module] = {}
        self._enforced: list[tuple[nn.Parameter, Tensor]] = []
        self._factors: list[Tensor] = []  # the same masks as numbers, for gradients; made when there are some
        self._structure: channelling.Structure | None = None
        self._passage: Passage | None = None
        self._count()

    @property
    def shapes(self) -> dict[str, tuple[int, ...]]:
        """Shapes of the prunable weights by layer."""
        return {name: tuple(weight.shape) for name, weight in self.weights.items()}

    @property
    def structure(self) -> channelling.Structure:
        """Which layers, norms and channels of the network feed which."""
        if self._structure is None:
            with self._unmetered():
                self._structure = channelling.structure(self._model, self.weights, self._input_shape)
        return self._structure

    def flops(self, masks: Masks) -> float:
        """FLOPs of one image's forward pass through the weights that these masks keep."""
        if self._passage is None:
            with self._unmetered():
                self._passage = passage(self._model, self.weights, self._input_shape)
        return self._passage.flops(masking.kept(masks), {name: mask.numel() for name, mask in self.masks.items()})

    def pruned(self, scores: Scores, sparsity: Sparsity) -> Masks:
        """The masks that keep the highest scores, or the lowest inside `inverted()`. Raises MaskError."""
        ranked, pattern = self._ranked(scores), self.pattern
        masks = (
            patterns.pruned(ranked, self.masks, sparsity, pattern)
            if pattern
            else masking.pruned(ranked, self.masks, sparsity)
        )
        if not any(masking.kept(masks).values()):
            raise MaskError(f"a sparsity of {sparsity} would leave no weight at all")
        return masks

    def chosen_channels(self, scores: Scores, sparsity: float) -> tuple[Masks, Masks]:
        """The output channels to keep by layer, and the masks that follow. Raises MaskError and Unsuitable."""
        self.require_no_pattern("removes whole channels")
        return channelling.chosen(self.structure, self.masks, self._ranked(scores), sparsity, self.channels)

    def target(self, sparsity: float) -> float:
        """The sparsity asked for, or under a pattern that of the network that holds it. Raises Unsuitable."""
        return patterns.reached(self.pattern, self.shapes) if self.pattern else sparsity

    def require_no_pattern(self, what: str) -> None:
        """Raises Unsuitable under a pattern, for a method that does `what`."""
        if self.pattern:
            raise Unsuitable(
                f"a method that {what} does not support patterns: what it keeps would not hold {self.pattern}; leave "
                f"{self.pattern} out for it"
            )

    def compute_by(self, modules: Mapping[str, nn.Module]) -> None:
        """Notes the modules that weights are computed by. Raises Unsuitable under a pattern if none gives it."""
        if not any(getattr(module, "pattern", None) == self.pattern for module in modules.values()):
            self.require_no_pattern("computes weights by modules without that `pattern`")
        self._computed = {**self._computed, **parametrisation.declaring(modules)}

    @property
    def used(self) -> Used:
        """The weights that a training pass uses: those kept, or as many as modules that compute weights declare."""
        if not self._computed:
            return Used(self.kept)
        counted = zip(self.masks.items(), self.kept, strict=True)
        counts = [parametrisation.used(name, self._computed, mask.numel(), kept) for (name, mask), kept in counted]
        forward, backward = zip(*counts, strict=True)
        return Used(forward, None if backward == forward else backward)

    def within(self, masks: Masks, channels: Masks) -> Masks:
        """These masks without the weights that are pruned already; keeps only these channels. Raises MaskError.

        The channels come into force with the next masks.
        """
        masking.check_masks(masks, self.masks)
        for name, channel in channels.items():
            mine = channel.to(self.masks[name].device)
            self.channels[name] = self.channels.get(name, mine) & mine
        return {name: mask & masks[name].to(mask.device) for name, mask in self.masks.items()}

    def set(self, masks: Masks, optimizer: torch.optim.Optimizer | None, weights: Scores) -> None:
        """Brings other masks into force, and gives some layers new weights. Raises MaskError."""
        masking.check_values(weights, self.weights)
        with torch.no_grad():
            for name, weight in weights.items():
                self.weights[name].copy_(weight)
        self.masks = masks
        self._count()
        self.enforce(optimizer)

    def enforce(self, optimizer: torch.optim.Optimizer | None) -> None:
        """Brings masks and channels into force on the present weights."""
        self._enforced = [
            (self.weights[name], mask.clone())
            for (name, mask), count in zip(self.masks.items(), self.kept, strict=True)
            if count < mask.numel()
        ]
        if self.channels:
            gates = channelling.gates(self.structure, self.channels)
            self._enforced += [(parameter, mask.bool()) for parameter, mask in gates]
        self._factors = []
        self.apply(optimizer)

    @torch.no_grad()
    def apply(self, optimizer: torch.optim.Optimizer | None) -> None:
        """Zeroes what is pruned, in weights and optimiser state."""
        for weight, mask in self._enforced:
            weight.masked_fill_(~mask, 0.0)
        if optimizer:
            clean(optimizer, dict(self._enforced))

    def mask_gradients(self) -> None:
        """Zeroes the gradients of pruned weights."""
        self._factors = self._factors or [mask.to(weight.dtype) for weight, mask in self._enforced]
        gradients, masks = [], []
        for (weight, _), factor in zip(self._enforced, self._factors, strict=True):
            if (gradient := weight.grad) is not None:
                gradients.append(gradient)
                masks.append(factor)
        if gradients:
            torch._foreach_mul_(gradients, masks)

    @contextmanager
    def inverted(self) -> Iterator[None]:
        """Inside, the lowest scores are kept."""
        before, self._inverted = self._inverted, not self._inverted
        try:
            yield
        finally:
            self._inverted = before

    def rebuild(self) -> None:
        """Finds the prunable weights again after parametrisations have ended, and masks them."""
        parameters = dict(self._model.named_parameters())
        self.weights, self._structure = {name: parameters[name] for name in self.masks}, None
        self._computed = {}
        self.enforce(None)

    def check_unwritten(self) -> None:
        """Raises SessionError where a mask was written to."""
        enforced = dict(self._enforced)
        for name, mask in self.masks.items():
            in_force = enforced.get(self.weights[name])
            intact = mask if in_force is None else mask == in_force
            if not intact.view(torch.uint8).all():  # as bytes it takes a fifteenth of the time
                raise SessionError(f"the mask of layer {name!r} was written to; use prune(), adopt() or rewire()")

    def _count(self) -> None:
        self.kept = tuple(masking.kept(self.masks).values())

    def _ranked(self, scores: Scores) -> Scores:
        masking.check_tensors(scores, "scores")
        return {name: -score for name, score in scores.items()} if self._inverted else scores
