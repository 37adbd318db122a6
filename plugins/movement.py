"""The analysis of movement: how far kept and pruned weights moved in the dense training."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

from lth_bench import Count, Paper, Unsuitable, hookimpl

if TYPE_CHECKING:
    from matplotlib.figure import Figure
    from pandas import DataFrame
    from torch import Tensor

    from lth_bench import Study
    from lth_bench.reports.figures.canvas import Canvas

AUCS = {
    "auc": "the ticket",
    "conditional_auc": "among weights of like initial size",
    "mechanical_auc": "largest weights, movements shuffled",
    "random_auc": "random mask",
}


@dataclass(frozen=True)
class Movement:
    """How far the weights that a ticket keeps moved in the dense training, |θ_T − θ_0|, next to those that it prunes.

    `auc` is the chance that a kept weight moved further than a pruned one, a half where the mask tells nothing. Beside
    it: the same among weights whose |θ_0| is in one of `bins` classes of equal number, of a random mask with as many
    weights in each layer, and of the largest weights after movements were shuffled within layers, which is what the
    choice of large weights alone makes of it. Over all layers, pairs are of weights in one layer. `own` is the median
    movement of kept weights in the ticket's own training, from its own weights on.

    The dense training is that of the dense experiment of the same data set, model, recipe and seed; where the run
    directory has none, it is done again.
    """

    bins: Count = 10

    title = "Movement"
    question = "Do the weights of a ticket move further in the dense training than those that it prunes?"
    caption = (
        "Chance that a kept weight moved further in the dense training than a pruned one of its layer (AUC), at the "
        "highest sparsity in the figure; largest weights, movements shuffled: what the choice of large weights alone "
        "makes of it; ratio: of the medians, kept by pruned"
    )
    columns: ClassVar = {
        "auc": "AUC",
        "conditional_auc": "AUC, like |θ₀|",
        "mechanical_auc": "AUC, shuffled",
        "random_auc": "AUC, random mask",
        "kept": "kept: median",
        "pruned": "pruned: median",
        "ratio": "ratio",
        "own": "in own training",
    }
    paper = Paper(
        "frankle2019lottery",
        "The lottery ticket hypothesis: Finding sparse, trainable neural networks",
        "Jonathan Frankle and Michael Carbin",
        "ICLR",
        2019,
        arxiv="1803.03635",
        code="https://github.com/google-research/lottery-ticket-hypothesis",
    )

    def __call__(self, study: Study) -> Iterator[dict[str, Any]]:
        masks, initial = study.ticket.masks, study.initial
        if all(bool(mask.all()) for mask in masks.values()):
            raise Unsuitable("the ticket prunes nothing, so that there are no pruned weights to compare with")
        trained = study.dense_end
        layers = {name: _Layer(initial[name], trained[name], mask) for name, mask in masks.items()}
        pairs = {name: layer.compared(self.bins, study.rng) for name, layer in layers.items()}
        whole = _Layer(*(_joined(getattr(layer, part) for layer in layers.values()) for part in _Layer.PARTS))
        own = _own(study)
        for name, layer in {"all": whole, **layers}.items():
            compared = _summed(pairs.values()) if name == "all" else pairs[name]
            aucs = {column: won / count for column, (won, count) in compared.items() if count}
            yield {"layer": name, **aucs, **layer.medians(), **({"own": own[name]} if name in own else {})}

    def table(self, rows: DataFrame) -> DataFrame:
        """Means over seeds, of all layers together."""
        from lth_bench.results.analyses import summary

        return summary(rows[rows["layer"] == "all"].drop(columns="layer")).drop(columns=["dataset", "model", "recipe"])

    def figure(self, rows: DataFrame, canvas: Canvas) -> Figure:
        """The AUCs of each method."""
        from lth_bench.reports.figures.dots import dots

        rows = rows[(rows["layer"] == "all") & (rows["target"] == rows["target"].max())]
        return dots(canvas, rows, AUCS, "Kept weight moved further than pruned one (AUC)", 0.5)


Pairs = dict[str, tuple[float, float]]
"""By column: how many pairs the kept weight won, a tie counting a half, and how many there are."""


class _Layer:
    """Weights before and after the dense training, and the mask of the ticket."""

    PARTS = ("before", "after", "mask")

    def __init__(self, before: Tensor, after: Tensor, mask: Tensor) -> None:
        self.before, self.after, self.mask = (part.flatten() for part in (before.double(), after.double(), mask))
        self.moved = (self.after - self.before).abs()

    def medians(self) -> dict[str, float]:
        """Of the movements of kept and of pruned weights, where there are some, and their ratio."""
        found = {name: float(moved.median()) for name, moved in self._sides() if len(moved)}
        return {
            **found,
            **({"ratio": found["kept"] / found["pruned"]} if found.get("pruned") and "kept" in found else {}),
        }

    def compared(self, bins: int, rng: Any) -> Pairs:
        """The pairs of a kept and a pruned weight: of the ticket, of like initial size, and of two other masks."""
        import torch

        count, size = int(self.mask.sum()), self.mask.numel()
        order = torch.randperm(size, generator=rng)
        scattered = torch.zeros(size, dtype=torch.bool)
        scattered[order[:count]] = True
        shuffled = (self.after - self.before)[torch.randperm(size, generator=rng)]
        large = torch.zeros(size, dtype=torch.bool)
        large[(self.before + shuffled).abs().argsort(descending=True, stable=True)[:count]] = True
        classes = self.before.abs().argsort(stable=True).tensor_split(min(bins, size))
        like = [_won(self.moved[places], self.mask[places]) for places in classes]
        return {
            "auc": _won(self.moved, self.mask),
            "conditional_auc": (sum(won for won, _ in like), sum(pairs for _, pairs in like)),
            "mechanical_auc": _won(shuffled.abs(), large),
            "random_auc": _won(self.moved, scattered),
        }

    def _sides(self) -> Iterable[tuple[str, Tensor]]:
        return [("kept", self.moved[self.mask]), ("pruned", self.moved[~self.mask])]


def _won(moved: Tensor, mask: Tensor) -> tuple[float, float]:
    """How many pairs the weight under the mask moved further in, and how many there are; by mean ranks."""
    from scipy.stats import rankdata

    kept = int(mask.sum())
    ranks = float(rankdata(moved.numpy())[mask.numpy()].sum())
    return ranks - kept * (kept + 1) / 2, float(kept * (mask.numel() - kept))


def _summed(layers: Iterable[Pairs]) -> Pairs:
    parts = list(layers)
    return {name: (math.fsum(p[name][0] for p in parts), math.fsum(p[name][1] for p in parts)) for name in parts[0]}


def _joined(parts: Iterable[Tensor]) -> Tensor:
    import torch

    return torch.cat(list(parts))


def _own(study: Study) -> dict[str, float]:
    """By layer, and over all: the median movement of kept weights in the ticket's own training, if it has one."""
    ticket = study.ticket
    moved = {name: (ticket.final[name] - ticket.start[name]).abs()[mask] for name, mask in ticket.masks.items()}
    moved["all"] = _joined(moved.values())
    return {name: float(part.median()) for name, part in moved.items() if len(part)} if moved["all"].any() else {}


@hookimpl
def register_analyses(register):
    register("movement", Movement)
