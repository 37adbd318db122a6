"""SRigL: RigL in which all neurons of a layer have the same number of inputs, and some neurons none."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated

from annotated_types import Ge, Le

from lth_bench import Duration, Paper, Rate, chance, hookimpl
from lth_bench.methods.sparse_training import (
    Annealing,
    Distribution,
    annealed,
    evolve,
    gradient_magnitude,
    layer_sparsities,
    update_steps,
)
from lth_bench.pruning.allocation import kept_count, sizes_of

if TYPE_CHECKING:
    from torch import Tensor

    from lth_bench.pruning.masks import Masks, Scores
    from lth_bench.training.session import Session


@dataclass(frozen=True)
class SRigL:
    """RigL with a constant fan-in: at intervals, drop small weights of a layer, and grow others neuron by neuron.

    Lasby et al. 2023, arXiv:2305.02299, section 3. All active neurons, or filters, of a layer have the same number of
    weights. At an update, the share `drop_fraction`, annealed, of a layer's weights is due to be dropped by magnitude.
    The weights that stay are salient, and so are as many as are dropped of the largest gradients of the current batch.
    A neuron with fewer salient weights than the share `salient` of the first fan-in loses all its weights to the other
    neurons; these grow weights of large gradient up to the new fan-in. This replaces a training step. No neuron of the
    output layer goes, and none at all at a `salient` of 0. The share of weights that were ever active is noted as
    `explored`, the number of neurons without weights as `ablated_neurons`, by layer. Defaults are those of the authors'
    code, which takes 0.95 for vision transformers.

    Deviations:
    - Where a neuron has more weights than the new fan-in, the largest stay (in the authors' code, which stay does not
      depend on their size).
    - Where neurons that are left have fewer weights than are due to stay, all of these stay (the authors' code fills up
      with pruned weights in no particular order).
    - Initial weights are those of the recipe (the authors' code scales them to the fan-in).
    - The fan-in is the layer's share of the target rounded down, so that the sparsity ends above the target.
    """

    title = "SRigL"
    family = "dynamic"
    paper = Paper(
        "lasby2024dynamic",
        "Dynamic Sparse Training with Structured Sparsity",
        "Mike Lasby and Anna Golubeva and Utku Evci and Mihai Nica and Yani Ioannou",
        "ICLR",
        2024,
        arxiv="2305.02299",
        code="https://github.com/calgaryml/condensed-sparsity",
    )

    distribution: Distribution = "erk"
    interval: Duration = Duration("100it")
    drop_fraction: Rate = 0.3
    annealing: Annealing = "cosine"
    until: Duration = Duration("75%")
    salient: Annotated[float, Ge(0), Le(1)] = 0.3

    def __call__(self, session: Session) -> None:
        updates = update_steps(session, self.interval, self.until)
        budgets = self.budgets(session)
        session.adopt(first_masks(session, budgets))

        def rewired(batch):
            fraction = annealed(self.drop_fraction, self.annealing, session.step, updates.stop)
            return self.masks(session, budgets, gradient_magnitude(session, batch), fraction)

        evolve(session, updates, rewired)
        note(session)

    def budgets(self, session: Session) -> dict[str, int]:
        """The number of weights of each layer, to be rounded down. Raises Unsuitable for less than one a neuron."""
        from lth_bench import Unsuitable

        sparsities = layer_sparsities(session, self.distribution, session.sparsity)
        budgets = {name: kept_count(sparsities[name], size) for name, size in sizes_of(session.shapes).items()}
        for name, shape in session.shapes.items():
            if budgets[name] < shape[0]:
                raise Unsuitable(
                    f"{budgets[name]} weights for the {shape[0]} neurons of layer {name!r} are less than one for each; "
                    "lower the target or take another distribution"
                )
        return budgets

    def masks(self, session: Session, budgets: dict[str, int], growth: Scores, fraction: float) -> Masks:
        """The masks after an update; dense layers stay dense."""
        masks = dict(session.masks)
        for name, weight in session.weights.items():
            if budgets[name] < weight.numel():
                layer = Layer(masks[name], weight.detach().abs(), growth[name], budgets[name])
                masks[name] = layer.updated(fraction, 0 if name == session.output_layer else self.minimum(layer.fan_in))
        return masks

    def minimum(self, fan_in: int) -> int:
        """The number of salient weights that keeps a neuron active."""
        return max(1, int(self.salient * fan_in)) if self.salient else 0


@dataclass(frozen=True)
class Layer:
    """A layer before an update: its mask, the sizes of weights and of gradients, and the number of weights due."""

    mask: Tensor
    size: Tensor
    growth: Tensor
    budget: int

    @property
    def fan_in(self) -> int:
        """The number of weights of each neuron if all are active."""
        return self.budget // len(self.mask)

    def updated(self, fraction: float, minimum: int) -> Tensor:
        """The mask after an update that drops a share of the weights; active neurons have `minimum` salient ones."""
        from lth_bench.pruning.masks import top

        stay = self.staying(fraction)
        active = self.active(stay, minimum)
        among = self.mask & (self.size > 0) & active
        staying = top(self.size, min(stay, int(among.count_nonzero())), among)
        fan_in = self.budget // int(active.count_nonzero())
        within = staying & largest(self.size.masked_fill(~staying, -1), fan_in)
        return active & largest(self.growth.masked_fill(within, float("inf")), fan_in)

    def staying(self, fraction: float) -> int:
        """How many weights are due to stay: all but the share, and none that are zero."""
        kept = int(self.mask.count_nonzero())
        return min(kept - int(kept * fraction), int((self.size * self.mask).count_nonzero()))

    def active(self, stay: int, minimum: int) -> Tensor:
        """Which neurons are active, in a shape that fits the layer's; enough are to hold all of its weights."""
        from lth_bench.pruning.masks import top

        salient = top(self.size * self.mask, stay) | top(self.growth, int(self.mask.count_nonzero()) - stay)
        counts = salient.flatten(1).sum(1)
        needed = self.budget // self.mask[0].numel()
        enough = min(minimum, int(counts.sort(descending=True).values[needed]))
        return (counts >= enough).view(-1, *[1] * (self.mask.dim() - 1))


def largest(scores: Tensor, count: int) -> Tensor:
    """A mask of the `count` largest scores of each neuron; ties go to the earlier weight."""
    import torch

    rows = scores.flatten(1)
    order = rows.argsort(dim=1, descending=True, stable=True)[:, :count]
    return torch.zeros_like(rows, dtype=torch.bool).scatter(1, order, True).view_as(scores)


def first_masks(session: Session, budgets: dict[str, int]) -> Masks:
    """Random masks in which all neurons of a layer have the same number of weights."""
    return {name: largest(scores, budgets[name] // len(scores)) for name, scores in chance(session).items()}


def note(session: Session) -> None:
    """Notes how many neurons have lost all weights, and why the target is missed, if it is."""
    from lth_bench.pruning.masks import kept

    emptied = [int((~mask.flatten(1).any(1)).count_nonzero()) for mask in session.masks.values()]
    session.note("ablated_neurons", emptied)
    if sum(kept(session.masks).values()) != kept_count(session.sparsity, sum(sizes_of(session.shapes).values())):
        session.note("off_target", "all active neurons of a layer have the same number of weights")


@hookimpl
def register_pruners(register):
    register("srigl", SRigL)
