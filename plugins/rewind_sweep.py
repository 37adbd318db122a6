"""The analysis of rewinding: from which step of the dense training a ticket's mask matches the dense network."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

from lth_bench import hookimpl
from lth_bench.methods.interpolation import barrier
from lth_bench_plugins.barrier import STABLE, Barrier, Points, batch_norms, rewound, states

if TYPE_CHECKING:
    from matplotlib.figure import Figure
    from pandas import DataFrame

    from lth_bench import Study
    from lth_bench.reports.figures.canvas import Canvas

MATCHES = 0.2  # points below the dense network


@dataclass(frozen=True)
class RewindSweep:
    """Accuracy and barrier of a ticket's mask on the weights of the dense network at step k, for several k.

    Frankle et al. 2019, arXiv:1903.01611; 2020, arXiv:1912.05671. For each of `shares`, which are k over the length of
    the recipe, the mask is trained from there to the end, on the data in two orders. Accuracy is the mean of both, and
    the barrier that of `points` points of the line between them, with batch norm statistics estimated anew. The mask
    matches where it loses at most 0.2 points to the dense network of the same initial weights.
    """

    shares: tuple[float, ...] = (0.0, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2)
    points: Points = 30

    title = "Rewinding"
    question = "From which step of the dense training does the mask match the dense network?"
    caption = (
        "The mask on the dense network's weights at step k, trained to the end T: accuracy and barrier, as means over "
        "seeds; it matches where it loses at most 0.2 points to the dense network, and is stable below a barrier of 2"
    )
    columns: ClassVar = {
        "share": "k/T, %",
        "accuracy": "accuracy, %",
        "lost": "lost, points",
        "barrier": "barrier, points",
    }
    paper = Barrier.paper

    def __call__(self, study: Study) -> Iterator[dict[str, Any]]:
        whole, dense = study.session(), study.session()
        whole.train()
        best = study.test(whole.snapshot().state).accuracy
        steps = {round(share * dense.total_steps): share for share in sorted(self.shares, reverse=True)}
        for step, share in sorted(steps.items()):
            dense.train(step)
            one, other = (rewound(study, dense.snapshot(), order) for order in (0, 1))
            accuracy = (study.test(one).accuracy + study.test(other).accuracy) / 2
            errors = [study.test(state).error for state in states(study, one, other, self.points, batch_norms(one)[0])]
            found = {"accuracy": accuracy, "lost": best - accuracy, "barrier": barrier(errors)}
            yield {"share": 100 * share, "step": step} | {name: 100 * value for name, value in found.items()}

    def table(self, rows: DataFrame) -> DataFrame:
        """Means over seeds by k, and whether the mask matches there."""
        from lth_bench.results.analyses import summary

        means = summary(rows.drop(columns="step"), ["share"]).drop(columns=["dataset", "model", "recipe"])
        return means.assign(matches=means["lost"].le(MATCHES).map({True: "yes", False: "no"}))

    def figure(self, rows: DataFrame, canvas: Canvas) -> Figure:
        """Accuracy and barrier by k at the highest sparsity of each method; a ring is where the mask first matches."""
        highest = rows.groupby("method")["target"].transform("max")
        means = rows[rows["target"] == highest].groupby(["method", "share"])[["accuracy", "lost", "barrier"]].mean()
        methods = canvas.ordered(set(rows["method"]))
        figure, panels = canvas.panels(["Accuracy, highest sparsity", "Barrier, highest sparsity"], methods)
        for axes, column in zip(panels, ["accuracy", "barrier"], strict=True):
            for method in methods:
                look, mine = canvas.looks[method], means.loc[method]
                axes.plot(mine.index, mine[column], color=look.colour, marker=look.marker, gid=look.gid)
                first = mine[mine["lost"] <= MATCHES].head(1)
                axes.plot(first.index, first[column], "o", markersize=9, fillstyle="none", color=look.colour)
            axes.set_xscale("symlog", linthresh=0.1)
            axes.set(xlabel="k/T (%)")
        panels[0].set(ylabel="Test accuracy (%)")
        panels[1].set(ylabel="Barrier (points)")
        panels[1].axhline(STABLE, color="0.5", linestyle=":")
        return figure


@hookimpl
def register_analyses(register):
    register("rewind_sweep", RewindSweep)
