"""The analysis of overlap: how far the masks of two tickets agree, beside what chance makes of it."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

from lth_bench import Unsuitable, hookimpl

if TYPE_CHECKING:
    from matplotlib.figure import Figure
    from pandas import DataFrame

    from lth_bench import Study
    from lth_bench.experiments.experiment import Experiment
    from lth_bench.pruning.masks import Masks
    from lth_bench.reports.figures.canvas import Canvas


@dataclass(frozen=True)
class Overlap:
    """Jaccard overlap of a ticket's mask with those of other methods of its seed, and of other seeds of its method.

    Weights that both keep, as a share of those that either keeps; `chance` is the ratio of what random masks with as
    many weights in each layer would have, Σ n·a·b / Σ n·(a + b − a·b) for layers of n weights with the shares a and b,
    and `excess` = (J − J₀) / (1 − J₀). Tickets are of one data set, model and target. With `rounds`, also the tickets
    of the same method and seed at other targets, such as the rounds of IMP.
    """

    rounds: bool = False

    title = "Overlap of masks"
    question = "Do other methods, or other seeds, keep the same weights?"
    caption = (
        "Jaccard overlap of masks, the level of random masks with as many weights in each layer, and the excess over "
        "it: 1 for equal masks, 0 at chance; of a method with itself, pairs of different seeds"
    )
    columns: ClassVar = {"overlap": "overlap", "chance": "chance", "excess": "excess"}
    reads_data = False

    def __call__(self, study: Study) -> Iterator[dict[str, Any]]:
        masks = study.ticket.masks
        if all(bool(mask.all()) for mask in masks.values()):
            raise Unsuitable("the ticket prunes nothing, so that its overlap with others says nothing")
        for peer in study.peers:
            if self._is_compared(study.experiment, peer.experiment):
                yield {"other": peer.key, **agreement(masks, peer.ticket.masks)}

    def table(self, rows: DataFrame) -> DataFrame:
        """Means over pairs, the closest first."""
        from lth_bench.results.analyses import summary

        return summary(rows).drop(columns=["dataset", "model", "recipe"]).sort_values("excess", ascending=False)

    def figure(self, rows: DataFrame, canvas: Canvas) -> Figure:
        """A square of the excess of every pair of methods at the highest target."""
        import pandas as pd

        from lth_bench.reports.figures.squares import square

        rows = rows[(rows["target"] == rows["target"].max()) & (rows["other_target"] == rows["target"].max())]
        turned = rows.assign(method=rows["other_method"], other_method=rows["method"])
        both = pd.concat([rows, turned])
        table = both.pivot_table(index="method", columns="other_method", values="excess", aggfunc="mean")
        return square(canvas, table, "Overlap of masks above chance")

    def _is_compared(self, mine: Experiment, other: Experiment) -> bool:
        """Whether two experiments are of one network, and differ in method or in seed alone."""
        if (mine.dataset, mine.model) != (other.dataset, other.model) or other.sparsity == 0:
            return False
        same_method = (mine.pruner, mine.control, mine.after) == (other.pruner, other.control, other.after)
        if mine.sparsity != other.sparsity:
            return self.rounds and same_method and mine.seed == other.seed
        return same_method != (mine.seed == other.seed)


def agreement(one: Masks, other: Masks) -> dict[str, float]:
    """The overlap of two masks of one network, its level by chance and the excess; what is not defined is left out."""
    both = sum(int((one[name] & other[name]).sum()) for name in one)
    either = sum(int((one[name] | other[name]).sum()) for name in one)
    counts = [(one[name].numel(), int(one[name].sum()), int(other[name].sum())) for name in one]
    shared = math.fsum(kept * others / size for size, kept, others in counts)
    chance = shared / (sum(kept + others for _, kept, others in counts) - shared) if either else math.nan
    found = {"overlap": both / either, "chance": chance} if either else {}
    return {**found, "excess": (found["overlap"] - chance) / (1 - chance)} if found and chance < 1 else found


@hookimpl
def register_analyses(register):
    register("overlap", Overlap)
