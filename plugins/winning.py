"""The analysis of winning: whether a ticket trains faster than the dense network and than its control."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from lth_bench import Unsuitable, hookimpl
from lth_bench_plugins.papers import FRANKLE_2019

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from pandas import DataFrame

    from lth_bench import Study
    from lth_bench.reports.figures.canvas import Canvas
    from lth_bench.storage.record import Record

DENSE = "dense"
MEASURES = {"steps": "steps to the loss", "stop": "early stop"}
APART = 1.03  # factor between the places of neighbours, so that they do not hide each other
MISSED = {"steps": "missed", "stop": "stop_missed"}


@dataclass(frozen=True)
class Winning:
    """Steps that a ticket takes to a validation loss, and its early-stop step, beside others of the same seed.

    The others are the dense network of the same data set, model and recipe, and the ticket's own `control`. The loss is
    `loss`, or `times` the lowest that the dense network reaches: that itself is the lowest of many noisy measurements,
    which an equal network misses about every second time. Only measurements after the last rewind, at the final
    sparsity, count. Steps are positions of the clock: a ticket with the weights of step k has taken k steps, but one
    whose weights were trained before the clock went back, as in learning-rate rewinding, has a start that its steps do
    not show.

    A network that never reaches the loss counts with its last measured step, which its steps exceed at least, and as
    `missed`; so does one whose loss is the lowest at its last measurement with its early-stop step. Read from records
    alone, to the steps between two measurements (`every`).
    """

    times: float = 1.1
    loss: float | None = None
    control: str = "redraw"

    title = "Faster training"
    question = "Does a ticket train faster than the dense network, and than its mask on new weights?"
    caption = (
        "Steps to the loss: until the validation loss is first as low as the one given, by default 1.1 times the "
        "lowest of the dense network of the seed; early stop: the step of the lowest loss; ±: half of the 95 % "
        "interval of the difference, paired by seed; missed: networks that never reach that loss, or whose loss is the "
        "lowest at the end: they count with the last step, a lower bound, and are hollow in the figure; faster: seeds "
        "whose ticket is known to be first"
    )
    columns: ClassVar = {
        "against": "against",
        "measure": "measure",
        "loss": "loss",
        "steps": "steps",
        "missed": "missed",
        "rival_steps": "other's",
        "rival_missed": "missed (other)",
        "difference": "difference",
        "half": "±",
        "first": "faster",
    }
    reads_ticket = False
    reads_data = False
    paper = FRANKLE_2019

    def __call__(self, study: Study) -> Iterator[dict[str, Any]]:
        self._check(study)
        loss = self.loss
        if loss is None and study.dense is not None:
            loss = self.times * min(_measured(study.dense.record)[1])
        mine = _reached(study.record, loss)
        for name, record in self._rivals(study):
            rival = {f"rival_{column}": value for column, value in _reached(record, loss).items() if column != "every"}
            yield {"against": name, **({} if loss is None else {"loss": loss}), **mine, **rival}

    def table(self, rows: DataFrame) -> DataFrame:
        """Means over seeds, and differences paired by seed."""
        import pandas as pd

        groups = rows.groupby(["method", "target", "against"], sort=False)
        found = [
            {**dict(zip(groups.keys, name, strict=True)), **row}
            for measure in MEASURES if measure in rows
            for name, part in groups
            for row in _compared(part, measure)
        ]  # fmt: skip
        return pd.DataFrame(found)

    def figure(self, rows: DataFrame, canvas: Canvas) -> Figure:
        """Both steps by sparsity: a line for each method, broken for its control, and the dense network's."""
        from matplotlib.lines import Line2D

        methods, redrawn = canvas.ordered(set(rows["method"])), rows[rows["against"] != DENSE]
        shown = {column: title.capitalize() for column, title in MEASURES.items() if column in rows}
        broken = [Line2D([], [], color="0.4", linestyle=":", label=name) for name in redrawn["against"].unique()]
        key = [canvas.dense, *broken]
        figure, panels = canvas.panels(list(shown.values()), methods, key)
        for axes, column in zip(panels, shown, strict=True):
            self._panel(axes, rows, column, canvas)
        return figure

    def _panel(self, axes: Axes, rows: DataFrame, column: str, canvas: Canvas) -> None:
        from lth_bench.reports.figures.axes import counts_axis, weights_left_axis

        own, methods = rows.drop_duplicates(["key"]), canvas.ordered(set(rows["method"]))
        for place, method in enumerate(methods):
            aside = APART ** (place - (len(methods) - 1) / 2)
            for part, prefix, line in (
                (own, "", "-"),
                (rows[rows["against"] != DENSE], "rival_", ":"),
            ):
                _line(axes, part[part["method"] == method], (column, prefix, line, aside), canvas)
        dense = rows[rows["against"] == DENSE].drop_duplicates("seed")[f"rival_{column}"]
        if len(dense):
            axes.axhline(dense.mean(), color=canvas.dense.get_color(), linestyle="--", linewidth=1.1)
        targets = sorted(set(rows["target"]))
        weights_left_axis(1 - np.array(targets), targets)(axes)
        highest = rows[[column, f"rival_{column}"]].max(axis=None)
        counts_axis(np.array([highest]), "Step")(axes)

    def _check(self, study: Study) -> None:
        experiment = study.experiment
        if experiment.control is not None:
            raise Unsuitable("it is a control; the ticket that it starts from is compared with it")
        if experiment.sparsity == 0:
            raise Unsuitable("it prunes nothing; tickets are compared with it")
        if experiment.after.recipe:
            raise Unsuitable("its mask is trained by another recipe than the dense network")
        if not _measured(study.record)[0]:
            raise Unsuitable("its record has no measurement under the final mask")

    def _rivals(self, study: Study) -> Iterator[tuple[str, Record]]:
        """The records to compare with, each with what the table calls it. Raises Unsuitable if there are none."""
        found = [(DENSE, study.dense.record)] if study.dense else []
        for one in study.peers:
            base, control = one.experiment.base, one.experiment.control
            if control and control.name == self.control and base and base.key == study.key:
                found.append((self.control, one.record))
        if not found:
            raise Unsuitable(
                f"there is neither a dense experiment of its data set, model, recipe and seed, nor its control "
                f"{self.control!r} to compare with"
            )
        yield from found


def _measured(record: Record) -> tuple[list[int], list[float]]:
    """Steps and validation losses of the measurements after the last rewind, at the final sparsity."""
    curve = record.curve
    if curve is None:
        return [], []
    first = len(curve.step)
    while first > 0 and _continues(curve.step, curve.kept, first):
        first -= 1
    return curve.step[first:], curve.validation_loss[first:]


def _continues(steps: list[int], kept: list[int], first: int) -> bool:
    """Whether the measurement before this place belongs to the same course of training."""
    last = len(steps) - 1
    return kept[first - 1] == kept[last] and (first > last or steps[first - 1] < steps[first])


def _reached(record: Record, loss: float | None) -> dict[str, float]:
    """Steps to the loss and to the lowest loss, and whether they are lower bounds, for what was measured."""
    steps, losses = _measured(record)
    if not steps:
        return {}
    lowest = losses.index(min(losses))
    found = {"stop": steps[lowest], "stop_missed": int(lowest == len(steps) - 1)}
    if loss is not None:
        low = [step for step, value in zip(steps, losses, strict=True) if value <= loss]
        found |= {"steps": low[0] if low else steps[-1], "missed": int(not low)}
    return {**found, **({"every": steps[-1] - steps[-2]} if len(steps) > 1 else {})}


def _compared(rows: DataFrame, measure: str) -> Iterator[dict[str, Any]]:
    """One measure over the seeds of a method, target and rival: means, how many missed, and the paired difference.

    Where every network missed there is no difference.
    """
    from lth_bench.results.statistics import mean_interval

    own, other = measure, f"rival_{measure}"
    pairs = rows.dropna(subset=[own, other])
    if pairs.empty:
        return
    missed, other_missed = (pairs[f"{prefix}{MISSED[measure]}"] > 0 for prefix in ("", "rival_"))
    first = ~missed & (other_missed | (pairs[own] < pairs[other]))
    found = {
        "measure": MEASURES[measure],
        **({"loss": pairs["loss"].mean()} if measure == "steps" else {}),
        "steps": pairs[own].mean(),
        "rival_steps": pairs[other].mean(),
        **{
            name: f"{part.sum()} of {len(pairs)}" for name, part in (("missed", missed), ("rival_missed", other_missed))
        },
        "first": f"{first.sum()} of {len(pairs)}",
        "n": len(pairs),
    }
    if not (missed & other_missed).all():
        interval = mean_interval((pairs[own] - pairs[other]).to_numpy(dtype=float)[None])
        found |= {"difference": interval.mean[0], "half": interval.upper[0] - interval.mean[0]}
    yield found


def _line(axes: Axes, rows: DataFrame, drawn: tuple[str, str, str, float], canvas: Canvas) -> None:
    """The means of one method or its control by target, with intervals over seeds; hollow where some seed missed."""
    from lth_bench.results.statistics import mean_interval

    column, prefix, style, aside = drawn
    rows = rows.dropna(subset=f"{prefix}{column}")
    if rows.empty:
        return
    look = canvas.looks[rows["method"].iloc[0]]
    groups = [part for _, part in rows.groupby("target")]
    left = [aside * (1 - part["target"].iloc[0]) for part in groups]
    spans = [mean_interval(part[f"{prefix}{column}"].to_numpy(dtype=float)[None]) for part in groups]
    means = [float(span.mean[0]) for span in spans]
    axes.plot(left, means, color=look.colour, linestyle=style, gid=look.gid)
    for x, span, part in zip(left, spans, groups, strict=True):
        face = "white" if part[f"{prefix}{MISSED[column]}"].any() else look.colour
        axes.plot(x, span.mean, color=look.colour, marker=look.marker, markerfacecolor=face, gid=look.gid)
        if np.isfinite(span.lower[0]):
            axes.vlines(x, span.lower, span.upper, colors=look.colour, linewidth=1).set_gid(look.gid)


@hookimpl
def register_analyses(register):
    register("winning", Winning)
