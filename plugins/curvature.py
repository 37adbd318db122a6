"""The analysis of curvature: how sharp the minimum is that a ticket ends in."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any, ClassVar

from annotated_types import Gt

from lth_bench import Count, Paper, Unsuitable, hookimpl

if TYPE_CHECKING:
    from matplotlib.figure import Figure
    from pandas import DataFrame

    from lth_bench import Study
    from lth_bench.reports.figures.canvas import Canvas

BATCH = 500
"""Examples of one pass, which bound the memory."""
PANELS = {
    "trace_per_weight": "Trace of the Hessian, by kept weight",
    "largest_eigenvalue": "Its largest eigenvalue",
    "sharpness": "Sharpness",
    "filter_sharpness": "Sharpness by filter",
}


@dataclass(frozen=True)
class Curvature:
    """The Hessian of the training loss over the weights that the final network keeps, and how much the loss may rise.

    The loss is the mean cross-entropy of the final network on `examples` training examples, or all if there are fewer,
    in evaluation mode. `trace`, by Hutchinson's estimate with its standard `error`, and `largest_eigenvalue` are those
    of the Hessian on the mask: pruned weights stay zero in every vector. `sharpness` is the rise of the loss after the
    step of sharpness-aware minimisation of length `radius`, and `sharpness_20` the highest of 20 steps in that ball;
    `filter_sharpness` measures lengths in units of each filter's norm, which scales that ReLU passes on do not change.
    """

    examples: Count = 1000
    radius: Annotated[float, Gt(0)] = 0.05

    title = "Curvature"
    question = "Do tickets end in flatter minima?"
    caption = (
        "Curvature of the training loss along kept weights, final networks: trace of the Hessian, in all and by kept "
        "weight, and its largest eigenvalue; sharpness: rise of the loss after one step of ascent, or the highest of "
        "20, plain and in units of each filter's norm"
    )
    columns: ClassVar = {
        "loss": "loss",
        "trace": "trace",
        "error": "±",
        "trace_per_weight": "by weight",
        "largest_eigenvalue": "λ max",
        "sharpness": "sharpness",
        "sharpness_20": "20 steps",
        "filter_sharpness": "by filter",
        "filter_sharpness_20": "20 by filter",
    }
    paper = Paper(
        "yao2020pyhessian",
        "PyHessian: Neural Networks Through the Lens of the Hessian",
        "Zhewei Yao and Amir Gholami and Kurt Keutzer and Michael W. Mahoney",
        "IEEE International Conference on Big Data",
        2020,
        arxiv="1912.07145",
        code="https://github.com/amirgholami/PyHessian",
    )

    def __call__(self, study: Study) -> Iterator[dict[str, Any]]:
        from lth_bench.data.examples import Batch
        from lth_bench_plugins.hessians import Surface, largest_eigenvalue, sharpness, trace

        batch = study.examples(min(self.examples, study.training_examples))
        parts = zip(batch.inputs.split(BATCH), batch.labels.split(BATCH), strict=True)
        network = study.network(study.ticket.final).requires_grad_(False)
        surface = Surface(network, study.ticket.masks, [Batch(*part) for part in parts], study.progress)
        if not len(surface.point):
            raise Unsuitable("the ticket keeps no weight")
        in_all, error = trace(surface, study.rng)
        row = {
            "loss": surface.height(surface.point),
            "trace": in_all,
            "error": error,
            "trace_per_weight": in_all / len(surface.point),
            "largest_eigenvalue": largest_eigenvalue(surface, study.rng),
        }
        for name, scales in {"sharpness": None, "filter_sharpness": surface.filter_norms}.items():
            row[name] = sharpness(surface, self.radius, scales=scales)
            row[f"{name}_20"] = sharpness(surface, self.radius, steps=20, scales=scales)
        yield row

    def figure(self, rows: DataFrame, canvas: Canvas) -> Figure:
        """Each measure against sparsity: means over seeds."""
        dense = rows[rows["target"] == 0]
        methods = canvas.ordered(set(rows["method"]) - set(dense["method"])) or canvas.ordered(set(dense["method"]))
        figure, panels = canvas.panels(list(PANELS.values()), methods, [canvas.dense] if len(dense) else [])
        for axes, column in zip(panels, PANELS, strict=True):
            for method in methods:
                means = rows[rows["method"] == method].groupby("target")[["sparsity", column]].mean()
                look = canvas.looks[method]
                axes.plot(100 * means["sparsity"], means[column], color=look.colour, marker=look.marker, gid=look.gid)
            if len(dense):
                line = canvas.dense
                axes.axhline(dense[column].mean(), color=line.get_color(), linestyle=line.get_linestyle())
            axes.set(xlabel="Sparsity (%)", yscale="symlog" if (rows[column] <= 0).any() else "log")
        return figure


@hookimpl
def register_analyses(register):
    register("curvature", Curvature)
