"""AC/DC: training that alternates between a sparse and a dense network."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from lth_bench import Duration, Paper, Unsuitable, hookimpl, magnitude
from lth_bench.methods.sparse_training import interval_steps

if TYPE_CHECKING:
    from torch import Tensor

    from lth_bench.pruning.masks import Masks
    from lth_bench.training.session import Session


@dataclass(frozen=True)
class ACDC:
    """Train dense, then compressed and dense in turns, each time under the mask of the largest weights, and end sparse.

    Peste et al. 2021, arXiv:2106.12379, algorithm 1. After `warmup`, a compressed and a dense phase of length `phase`
    follow each other as often as both fit; then the last compressed phase takes `last`, and what is left over lengthens
    the last dense phase. In every compressed phase the largest weights of all layers together are trained; after it
    the others start at zero. The default spans are those of the authors' configurations for CIFAR (10, 20 and 30 epochs
    of 200); those for ImageNet have 10, 5 and 15 %. At the start of a dense phase all momentum is reset, as in the
    authors' scripts; with `momentum` "kept", the default of their code, it goes on, and that of revived weights with
    what their phase without gradients has left of it.

    Deviations:
    - The target is met exactly (in the authors' code, one weight fewer is kept).
    - With Adam, revived weights start with empty state even if momentum is kept.
    """

    title = "AC/DC"
    family = "during training"
    paper = Paper(
        "peste2021acdc",
        "AC/DC: Alternating Compressed/DeCompressed Training of Deep Neural Networks",
        "Alexandra Peste and Eugenia Iofinova and Adrian Vladu and Dan Alistarh",
        "NeurIPS",
        2021,
        arxiv="2106.12379",
        code="https://github.com/IST-DASLab/ACDC",
    )

    warmup: Duration = Duration("5%")
    phase: Duration = Duration("10%")
    last: Duration = Duration("15%")
    momentum: Literal["reset", "kept"] = "reset"

    def __call__(self, session: Session) -> None:
        session.topology.require_no_pattern("replaces masks in training")
        *phases, (end, _) = self.compressed(session)
        for start, stop in phases:
            session.train(until=start)
            before = momenta(session)
            session.prune(magnitude(session))
            pruned = {name: ~mask for name, mask in session.masks.items()}
            train_and_revive(session, stop)
            if self.momentum == "reset":
                forget(session)
            else:
                carry_on(session, before, pruned, stop - start)
        session.train(until=end)
        session.prune(magnitude(session))
        session.train()

    def compressed(self, session: Session) -> list[tuple[int, int]]:
        """The first step of every compressed phase, and that of what follows it. Raises Unsuitable for a single one."""
        start, length = session.steps(self.warmup), interval_steps(session, self.phase)
        end = session.total_steps - interval_steps(session, self.last)
        cycles = (end - start) // (2 * length)
        if cycles < 1:
            raise Unsuitable(
                f"AC/DC needs a compressed and a dense phase of {length} steps each between its warm-up and its last "
                f"phase, which leave steps {start} to {end} of {session.total_steps}; shorten what is too long"
            )
        starts = range(start, start + 2 * length * cycles, 2 * length)
        return [*((first, first + length) for first in starts), (end, session.total_steps)]


def train_and_revive(session: Session, until: int) -> None:
    """Trains up to a step, and then lets every weight take part again."""
    from lth_bench.pruning.masks import full

    session.train(until=until - 1)
    for batch in session.batches(until=until):
        session.loss(batch).backward()
        session.update()
        session.rewire(full(session.weights))


def forget(session: Session) -> None:
    """Empties the optimiser's state of all parameters."""
    if session.optimizer:
        session.optimizer.state.clear()


def momenta(session: Session) -> dict[str, Tensor]:
    """Copies of SGD's momentum by layer; none before the first update, or without momentum."""
    state = session.optimizer.state if session.optimizer else {}
    buffers = {name: state.get(weight, {}).get("momentum_buffer") for name, weight in session.weights.items()}
    return {name: buffer.clone() for name, buffer in buffers.items() if buffer is not None}


def carry_on(session: Session, before: dict[str, Tensor], pruned: Masks, steps: int) -> None:
    """Gives weights that were pruned the momentum of `steps` steps ago, which has decayed since."""
    for name, buffer in before.items():
        left = buffer * pruned[name] * session.recipe.momentum**steps
        session.optimizer.state[session.weights[name]]["momentum_buffer"] += left


@hookimpl
def register_pruners(register):
    register("acdc", ACDC)
