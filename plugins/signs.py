"""The analysis of signs: how many kept weights end with the sign that they started with, layer by layer."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from lth_bench import Paper, hookimpl

if TYPE_CHECKING:
    from matplotlib.figure import Figure
    from pandas import DataFrame
    from torch import Tensor

    from lth_bench import Study
    from lth_bench.reports.figures.canvas import Canvas


@dataclass(frozen=True)
class Signs:
    """Share of a ticket's kept weights whose final sign is their initial one, plain and weighted by final size.

    By chance it is a half. One row for each layer, and one for all of them; weights that are zero at either end do not
    count. The initial weights are those of step 0, also of a ticket whose own weights are of a later step.
    """

    title = "Signs"
    question = "Do kept weights end with the signs that they were drawn with?"
    caption = (
        "Share of kept weights whose final sign is their initial one, plain and weighted by final size, over all "
        "layers; a half is chance"
    )
    paper = Paper(
        "zhou2019deconstructing",
        "Deconstructing lottery tickets: zeros, signs, and the supermask",
        "Hattie Zhou and Janice Lan and Rosanne Liu and Jason Yosinski",
        "NeurIPS",
        2019,
        arxiv="1905.01067",
        code="https://github.com/uber-research/deconstructing-lottery-tickets",
    )

    def __call__(self, study: Study) -> Iterator[dict[str, Any]]:
        import torch

        ticket = study.ticket
        initial = ticket.start if ticket.step == 0 else study.initial
        pairs = {name: (initial[name][mask], ticket.final[name][mask]) for name, mask in ticket.masks.items()}
        whole = tuple(torch.cat(parts) for parts in zip(*pairs.values(), strict=True))
        for name, (before, after) in {"all": whole, **pairs}.items():
            yield {"layer": name, **agreement(before, after)}

    def table(self, rows: DataFrame) -> DataFrame:
        """Means over seeds, of all layers together."""
        from lth_bench.results.analyses import summary

        whole = rows[rows["layer"] == "all"].drop(columns="layer")
        return summary(whole)[["method", "target", "agreement", "weighted_agreement", "flips", "n"]]

    def figure(self, rows: DataFrame, canvas: Canvas) -> Figure:
        """Agreement by layer, at the highest sparsity, plain beside weighted."""
        rows = rows[rows["target"] == rows["target"].max()]
        methods = canvas.ordered(set(rows["method"]))
        figure, panels = canvas.panels(["plain", "weighted by size"], methods)
        for axes, column in zip(panels, ("agreement", "weighted_agreement"), strict=True):
            for method in methods:
                means = rows[rows["method"] == method].groupby("layer", sort=False)[column].mean()
                look = canvas.looks[method]
                axes.plot(means.index, means, color=look.colour, marker=look.marker, gid=look.gid)
            axes.axhline(0.5, color="0.5", linestyle=":")
            axes.set(ylabel="same sign", ylim=(0, 1.02))
        return figure


def agreement(before: Tensor, after: Tensor) -> dict[str, float]:
    """Shares of equal signs of two sets of weights, where neither is zero; nothing where there are none."""
    there = (before != 0) & (after != 0)
    same, size = (before.sign() == after.sign())[there].double(), after[there].abs().double()
    if not len(same):
        return {}
    return {
        "agreement": float(same.mean()),
        "weighted_agreement": float((same * size).sum() / size.sum()),
        "flips": int(len(same) - same.sum()),
    }


@hookimpl
def register_analyses(register):
    register("signs", Signs)
