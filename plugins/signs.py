"""The analysis of signs: how many kept weights end with the sign that they started with, layer by layer."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

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

    At `moments` steps, evenly spaced from the step of its own weights on, the share of kept weights whose sign has
    changed since that step. For that the ticket is trained again by its recipe, with an optimiser that starts empty; 0
    leaves it out.
    """

    moments: int = 8

    title = "Signs"
    question = "Do kept weights end with the signs that they were drawn with?"
    caption = (
        "Share of kept weights whose final sign is their initial one, plain and weighted by final size, over all "
        "layers; a half is chance; turned: the share that has changed its sign since the step of the ticket's weights"
    )
    columns: ClassVar = {"agreement": "same sign", "weighted_agreement": "weighted by size", "flips": "flips"}
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
        yield from self._flips(study)

    def _flips(self, study: Study) -> Iterator[dict[str, Any]]:
        """By moment and layer: the share of kept weights whose sign has changed since the ticket's step."""
        import torch

        from lth_bench.methods.controls import start_from

        session, ticket = study.session(), study.ticket
        last = session.total_steps
        if self.moments == 0 or ticket.step >= last:
            return
        start_from(session, ticket, {})
        before = {name: ticket.start[name][mask] for name, mask in ticket.masks.items()}
        for step in np.linspace(ticket.step, last, self.moments + 1).round().astype(int).tolist()[1:]:
            session.train(step)
            state = session.snapshot().state
            after = {name: state[name].cpu()[mask] for name, mask in ticket.masks.items()}
            turned = {name: before[name].sign() * after[name].sign() < 0 for name in before}
            turned["all"] = torch.cat(list(turned.values()))
            for name, signs in turned.items():
                if len(signs):
                    yield {"layer": name, "step": step, "flipped": float(signs.double().mean())}

    def table(self, rows: DataFrame) -> DataFrame:
        """Means over seeds, of all layers together."""
        from lth_bench.results.analyses import summary

        rows = _complete(rows)
        whole = rows[(rows["layer"] == "all") & rows["step"].isna()]
        return summary(whole.drop(columns=["layer", "step", "flipped"])).drop(columns=["dataset", "model", "recipe"])

    def figure(self, rows: DataFrame, canvas: Canvas) -> Figure:
        """At the highest sparsity: agreement by layer, and signs that have turned by step."""
        rows = _complete(rows[rows["target"] == rows["target"].max()])
        whole = rows["layer"] == "all"
        methods, moments = canvas.ordered(set(rows["method"])), rows["step"].notna()
        figure, (layers, steps) = canvas.panels(["By layer, at the end", "All layers, while it trains"], methods)
        parts = (
            (layers, rows[~moments & ~whole], "layer", "agreement"),
            (steps, rows[moments & whole], "step", "flipped"),
        )
        for axes, part, across, column in parts:
            for method in methods:
                means = part[part["method"] == method].groupby(across, sort=across == "step")[column].mean()
                look = canvas.looks[method]
                x = means.index if across == "step" else range(1, len(means) + 1)
                axes.plot(x, means, color=look.colour, marker=look.marker, gid=look.gid)
        layers.axhline(0.5, color="0.5", linestyle=":")
        layers.set(xlabel="Layer, in the order of the network", ylabel="Share of the same sign", ylim=(0, 1.05))
        layers.xaxis.get_major_locator().set_params(integer=True)
        steps.set(xlabel="Step", ylabel="Share of signs turned")
        return figure


def _complete(rows: DataFrame) -> DataFrame:
    """The rows with the columns of moments, also where there are none."""
    return rows.reindex(columns=[*dict.fromkeys([*rows.columns, "step", "flipped"])])


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
