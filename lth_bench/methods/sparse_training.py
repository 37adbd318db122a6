"""What dynamic sparse training methods share: the first topology, when it changes, how much, and which weights."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from lth_bench.experiments.durations import Duration
from lth_bench.methods.scores import magnitude
from lth_bench.pruning.allocation import DISTRIBUTIONS

if TYPE_CHECKING:
    from torch import Tensor

    from lth_bench.data.examples import Batch
    from lth_bench.pruning.masks import Masks, Scores
    from lth_bench.training.session import Session

Distribution = Literal["uniform", "uniform_first_dense", "er", "erk", "erk_first_dense"]
"""How a random topology spreads sparsity over layers; the total is exact with all of them."""

Annealing = Literal["constant", "cosine", "linear", "cubic"]
"""How the share of exchanged weights falls to zero (Evci et al. 2020, arXiv:1911.11134, appendix)."""

FLOOR = 0.005


def layer_sparsities(session: Session, distribution: Distribution, sparsity: float) -> dict[str, float]:
    """Sparsities by layer. Raises Unsuitable where this network cannot reach them."""
    from lth_bench.errors import Unsuitable

    try:
        return DISTRIBUTIONS[distribution](session.shapes, sparsity)
    except ValueError as error:
        raise Unsuitable(str(error)) from error


def update_steps(session: Session, interval: Duration, until: Duration) -> range:
    """The steps 0, `interval`, 2 × `interval`, … before `until` and before the recipe's end. Raises Unsuitable."""
    return range(0, min(session.steps(until), session.total_steps), interval_steps(session, interval))


def interval_steps(session: Session, interval: Duration) -> int:
    """An interval in steps. Raises Unsuitable for less than one step."""
    from lth_bench.errors import Unsuitable

    if (steps := session.steps(interval)) < 1:
        raise Unsuitable(f"an interval of {interval!r} is less than one step of this training; give a longer one")
    return steps


def annealed(value: float, how: Annealing, step: int, end: int) -> float:
    """The value at a step, if it falls to zero at `end` or is constant."""
    done = 1.0 if step >= end else step / end
    remaining = 1 - done
    shares = {
        "constant": 1.0,
        "cosine": (1 + math.cos(math.pi * done)) / 2,
        "linear": remaining,
        "cubic": remaining**3,
    }
    return value * shares[how]


def annealed_to_floor(value: float, how: Annealing, step: int, end: int) -> float:
    """The same down to 0.005 instead of zero, as in the code of ITOP and GraNet."""
    return FLOOR + annealed(value - FLOOR, how, step, end)


@dataclass(frozen=True)
class GradualPruning:
    """A sparsity that rises fast at first and slowly later (Zhu & Gupta 2017, arXiv:1710.01878, equation 1).

    It is `initial` until the step `begin` and `final` from `end` on; pruning is due `every` so many steps in between,
    and at `end`.
    """

    begin: int
    end: int
    every: int
    initial: float
    final: float

    @property
    def steps(self) -> list[int]:
        """The steps at which pruning is due."""
        return [*range(self.begin + self.every, self.end, self.every), self.end]

    def sparsity(self, step: int) -> float:
        if step >= self.end:
            return self.final
        remaining = 1 - max(0, step - self.begin) / (self.end - self.begin)
        return self.final + (self.initial - self.final) * remaining**3


def gradual_pruning(
    session: Session, span: tuple[Duration, Duration], interval: Duration, initial: float = 0.0
) -> GradualPruning:
    """The schedule from `initial` to a Session's target. Raises Unsuitable for a span outside of training."""
    from lth_bench.errors import Unsuitable

    begin, end = (session.steps(duration) for duration in span)
    if not begin <= end < session.total_steps:
        raise Unsuitable(
            f"gradual pruning from {span[0]!r} to {span[1]!r} is from step {begin} to step {end} of "
            f"{session.total_steps}; it has to begin before it ends, and to end before training does"
        )
    if initial > session.sparsity:
        raise Unsuitable(f"an initial sparsity of {initial} is above the target of {session.sparsity}; lower it")
    return GradualPruning(begin, end, interval_steps(session, interval), initial, session.sparsity)


def evolve(session: Session, steps: Sequence[int], rewired: Callable[[Batch], Masks]) -> None:
    """Trains to the end; at each of the steps, rewiring to the masks that `rewired` returns replaces the update.

    Notes, as `explored`, the share of weights that were ever kept (Liu et al. 2021, arXiv:2102.02887).
    """
    due, explored = frozenset(steps), Explored(session)
    for batch in session.batches(until=min(session.total_steps, max(steps, default=-1) + 1)):
        if session.step in due:
            _require_finite(session, "weight", session.weights)
            explored.rewire(rewired(batch))
        else:
            session.loss(batch).backward()
            session.update()
    session.train()
    explored.note()


def evolve_after_updates(
    session: Session, steps: Sequence[int], growth: Callable[[], Scores], rewired: Callable[[Scores], Masks]
) -> None:
    """Trains to the end; at each of the steps, right after the update that reaches it, rewires to other masks.

    `growth` scores all weights by the gradients of that update, before it; `rewired` returns masks by these scores and
    the updated weights. Notes `explored` as `evolve` does.
    """
    due, explored = frozenset(steps), Explored(session)
    scores: Scores = {}
    for batch in session.batches(until=max(steps, default=session.step)):
        session.loss(batch).backward()
        if session.step + 1 in due:
            scores = growth()
        session.update()
        if session.step in due:
            _require_finite(session, "weight", session.weights)
            explored.rewire(rewired(scores))
    session.train()
    explored.note()


class Explored:
    """Rewires a Session, and knows which of its weights were ever kept. Raises Unsuitable under a pattern."""

    def __init__(self, session: Session) -> None:
        session.topology.require_no_pattern("replaces masks in training")
        self._session, self._ever = session, dict(session.masks)

    def rewire(self, masks: Masks) -> None:
        self._session.rewire(masks)
        self._ever = {name: mask | self._session.masks[name] for name, mask in self._ever.items()}

    def note(self) -> None:
        total = sum(mask.numel() for mask in self._ever.values())
        self._session.note("explored", sum(int(mask.count_nonzero()) for mask in self._ever.values()) / total)


def gradient_magnitude(session: Session, batch: Batch) -> dict[str, Tensor]:
    """The absolute value of the gradient of every prunable weight, pruned ones too. Raises Diverged."""
    gradients = session.dense_gradients(batch)
    _require_finite(session, "gradient", gradients)
    return {name: gradient.abs() for name, gradient in gradients.items()}


def gradient_magnitude_at_hand(session: Session) -> dict[str, Tensor]:
    """The same from the gradients that this tick has computed, which are charged as dense ones. Raises Diverged."""
    import torch

    session.account.charge_dense()
    weights = session.weights.items()
    gradients = {name: torch.zeros_like(w) if w.grad is None else w.grad for name, w in weights}
    _require_finite(session, "gradient", gradients)
    return {name: gradient.abs() for name, gradient in gradients.items()}


def exchanged(session: Session, growth: Scores, fraction: float, whole: Callable[[float], int] = int) -> Masks:
    """Masks in which a share of each layer's weights is dropped by magnitude and as many are grown by a score.

    Weights that were just dropped may be grown again, with their old value. `whole` rounds the number of weights.
    """
    counts = {name: whole(fraction * int(mask.count_nonzero())) for name, mask in session.masks.items()}
    importance = magnitude(session)
    return {
        name: grown(dropped(mask, importance[name], counts[name]), growth[name], counts[name])
        for name, mask in session.masks.items()
    }


def dropped(mask: Tensor, importance: Tensor, count: int) -> Tensor:
    """A mask without its `count` weights of least importance; ties go to the earlier weight."""
    from lth_bench.pruning.masks import top

    return top(importance, int(mask.count_nonzero()) - count, among=mask)


def grown(mask: Tensor, growth: Tensor, count: int) -> Tensor:
    """A mask with `count` more weights, those of the highest scores; ties go to the earlier weight."""
    from lth_bench.pruning.masks import top

    return mask | top(growth, count, among=~mask)


def _require_finite(session: Session, kind: str, values: Mapping[str, Tensor]) -> None:
    """Raises Diverged unless all values are finite: others have no order, and masks of them no exact count."""
    from lth_bench.errors import Diverged

    if not all(bool(value.isfinite().all()) for value in values.values()):
        raise Diverged(session.step, f"a {kind} that is not finite")
