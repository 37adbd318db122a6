"""The kinds of figures: what each shows of a leaderboard, and its caption; None where there is nothing to show."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import partial

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.lines import Line2D

from lth_bench.reports import escaping
from lth_bench.reports.figures import axes as scales
from lth_bench.reports.figures import heatmaps
from lth_bench.reports.figures.axes import Drawn
from lth_bench.reports.figures.charts import Line, dense_line
from lth_bench.reports.figures.lines import Lines, lines
from lth_bench.reports.figures.pareto import Pareto, Points, pareto
from lth_bench.reports.figures.style import DENSE, Setting
from lth_bench.reports.figures.view import Sketch, View, counted, dense_words, means, remarks, seeds, sentence
from lth_bench.reports.numbers import distinct_percents, percentage
from lth_bench.results.leaderboard import TROUBLES

PANEL = 20.0  # em of a panel of targets, at least
PANELS = 4  # targets shown in one figure, at most
ALIKE = 1.05  # costs that differ less are not worth a figure
CURVE = 3  # points that make a curve
ACCURACY = ["accuracy", "accuracy_lower", "accuracy_upper"]
HOLLOW = "a hollow marker"
SURVIVORS = f"{HOLLOW}: some seed failed, diverged or is missing"
ERROR_AXIS = (
    "the axis is logarithmic in the error, so that good methods can be told apart and collapsed ones are in sight"
)


def _accuracy(view: View, setting: Setting) -> Sketch | None:
    rows = _accuracies(view)
    if rows.empty:
        return None
    accuracies = np.concatenate([rows["y"], view.dense["accuracy"]])
    chart = _against_sparsity(
        view,
        rows,
        "a seed failed, diverged or is missing",
        (_level(view.dense, ACCURACY), scales.error_axis(accuracies, "Test accuracy")),
    )
    caption = sentence(
        f"{view.title}: test accuracy at the last step against measured sparsity, {means(rows)}",
        ERROR_AXIS,
        *dense_words(view),
        *([SURVIVORS] if rows["hollow"].any() else []),
        *remarks(view, rows),
    )
    return caption, partial(lines, chart, setting)


def _accuracies(view: View) -> pd.DataFrame:
    """The rows that pruned something, with accuracies as y; hollow where a seed was lost."""
    rows = view.sparse.assign(hollow=lambda rows: rows[list(TROUBLES)].sum(axis=1) > 0)
    return rows.rename(columns=dict(zip(ACCURACY, ("y", "lower", "upper"), strict=True)))


def _early_stop(view: View, setting: Setting) -> Sketch | None:
    rows = view.sparse
    rows = rows[rows["early_stop_step"].notna()]
    some = (rows["censored"] < rows["n"]).groupby(rows["method"]).transform("any")
    dense = view.dense[view.dense["censored"] < view.dense["n"]]
    left_out = rows[~some]["method"].nunique()
    rows = rows[some]
    if rows["method"].nunique() + len(dense) < 2 or rows.empty:
        return None
    y_axis = scales.counts_axis(
        np.concatenate([rows["early_stop_step"], view.dense["early_stop_step"]]), "Early-stop step"
    )
    rows = rows.assign(y=rows["early_stop_step"], hollow=rows["censored"] > 0).join(view.early)
    chart = _against_sparsity(
        view,
        rows,
        "at the last step for a seed",
        (_level(view.dense.join(view.early), ["early_stop_step", "lower", "upper"]), y_axis),
    )
    caption = sentence(
        f"{view.title}: step of the lowest validation loss since the last rewind against measured sparsity, "
        f"{means(rows)}",
        *dense_words(view),
        *([f"{HOLLOW}: for some seed that was the last step, so that it is no more than a lower bound"]
          if rows["hollow"].any() else []),
        *(["that of the dense network is one for every seed"] if len(view.dense) > len(dense) else []),
        *remarks(view, rows),
        *([f"{counted(left_out)} of which that is so for every seed left out"] if left_out else []),
    )  # fmt: skip
    return caption, partial(lines, chart, setting)


def _against_sparsity(view: View, rows: pd.DataFrame, care: str, axes: tuple[Drawn, Drawn]) -> Lines:
    rows = rows.assign(x=scales.positive((1 - rows["sparsity"]).round(9).to_numpy()))
    left, targets = rows["x"].to_numpy(), sorted(set(rows["target"]))
    span = math.log(max(left.max() / left.min(), 1.3))
    gaps = np.diff(np.log1p(-np.array(targets)))
    apart = min(0.015 * span if gaps.size else 0.1 * span, 0.08 * np.abs(gaps).min(initial=math.inf))
    bars = Line2D([], [], color="0.4", linestyle="", marker="|", markersize=7, label="95 % interval")
    hollow = Line2D([], [], color="0.4", linestyle="", marker="o", markerfacecolor="white", label=care)
    return Lines(
        escaping.figure(view.title),
        [_line(view, part.sort_values("x", ascending=False)) for part in _methods(rows)],
        axes[0],
        scales.weights_left_axis(left, targets),
        axes[1],
        [*_dense_key(view), *([bars] if (rows["n"] > 1).any() else []), *([hollow] if rows["hollow"].any() else [])],
        math.exp(-apart),
    )


def _methods(rows: pd.DataFrame) -> Iterator[pd.DataFrame]:
    return (part for _, part in rows.groupby("method", sort=False))


def _line(view: View, rows: pd.DataFrame) -> Line:
    """A method's rows with columns x, y, lower, upper and hollow."""
    method = rows["method"].iloc[0]
    x, y, lower, upper = (rows[name].to_numpy(dtype=float) for name in ("x", "y", "lower", "upper"))
    hollow = rows["hollow"].to_numpy(dtype=bool)
    return Line(view.looks[method], view.name(method), view.family(method), x, y, lower, upper, hollow)


def _level(dense: pd.DataFrame, columns: list[str]) -> Drawn:
    """Draws the mean of the dense network as a horizontal line, with its bounds as a band."""

    def apply(axes: Axes) -> None:
        for mean, lower, upper in dense[columns].to_numpy(dtype=float):
            axes.axhline(mean, color=DENSE, linestyle="--", linewidth=1.1, zorder=2, gid="dense")
            if np.isfinite(lower):
                axes.axhspan(lower, upper, color=DENSE, alpha=0.1, linewidth=0, zorder=1, gid="dense")

    return apply


def _dense_key(view: View) -> list[Line2D]:
    return [dense_line()] if len(view.dense) else []


def _cost(view: View, setting: Setting, relative: pd.Series[float], words: tuple[str, str]) -> Sketch | None:
    """Accuracy against a cost in multiples of the dense network's."""
    rows = _accuracies(view).assign(x=relative)
    rows = rows[(rows["control"] == "") & np.isfinite(rows["x"]) & (rows["place"] == rows["target"])]
    rows = rows.assign(x=scales.positive(rows["x"].to_numpy()))
    targets = _few(sorted(set(rows["target"])), int(min(PANELS, setting.room // PANEL)))
    rows = rows[rows["target"].isin(targets)]
    costs = rows.groupby("target")["x"]
    if (costs.max() < ALIKE * costs.min()).all():
        return None
    accuracies = np.concatenate([rows["y"], view.dense["accuracy"]])
    chart = Pareto(
        escaping.figure(view.title),
        [_points(view, rows[rows["target"] == target]) for target in targets],
        _level(view.dense, ACCURACY),
        scales.ratio_axis(rows["x"].to_numpy(), words[0]),
        scales.error_axis(accuracies, "Test accuracy", room=1.8),
        [*_dense_key(view), Line2D([], [], color="0.45", linewidth=1.0, label="Pareto front")],
    )
    caption = sentence(
        f"{view.title}: test accuracy at the last step against {words[1]}, relative to the dense network, "
        f"at {_listed(distinct_percents(targets))} sparsity, {means(rows)}",
        "the line is the Pareto front of the means, where costs within 1 % count as the same; its methods are named "
        "where there is room",
        ERROR_AXIS,
        *dense_words(view),
        *([f"{SURVIVORS}, so that it cannot be on the front"] if rows["hollow"].any() else []),
        *remarks(view, rows),
        "controls and what missed its target are left out",
    )
    return caption, partial(pareto, chart, setting)


def _few(targets: list[float], most: int) -> list[float]:
    """So many of the targets, the first and the last among them; if only one, the middle."""
    if most < 2:
        return targets[len(targets) // 2 :][:1]
    places = np.linspace(0, len(targets) - 1, min(most, len(targets))).round().astype(int)
    return [targets[place] for place in places]


def _points(view: View, rows: pd.DataFrame) -> Points:
    drawn = [_line(view, part) for _, part in rows.groupby(["method", "target"], sort=False)]
    title = f"{percentage(float(rows['target'].iloc[0]))} sparsity"
    return Points(title, drawn, np.array([not line.hollow[0] for line in drawn]))


def _training(view: View, setting: Setting) -> Sketch | None:
    dense = view.dense["training_flops"]
    if dense.empty or not dense.iloc[0] > 0:
        return None
    words = ("Training FLOPs with search (dense = 1×)", "FLOPs of training, the search included")
    return _cost(view, setting, view.rows["training_flops"] / dense.iloc[0], words)


def _inference(view: View, setting: Setting) -> Sketch | None:
    words = ("Inference FLOPs (dense = 1×)", "FLOPs of inference that counts weights left alone")
    return _cost(view, setting, view.rows["inference_share"], words)


def _learning(view: View, setting: Setting) -> Sketch | None:
    curves = {method: curve for method, curve in view.curves.items() if len(curve) >= CURVE}
    if not set(curves) - {""}:
        return None
    rows = view.at_target(curves)
    dense = curves.get("")
    drawn = []
    for part in _methods(rows):
        curve, first = curves[part["method"].iloc[0]], part.iloc[0]
        values = {"x": curve.index, "y": curve, "lower": np.nan, "upper": np.nan, "hollow": False}
        points = pd.DataFrame(values).assign(method=first["method"], own_recipe=first["own_recipe"])
        drawn.append(_line(view, points))
    chart = Lines(
        view.title_at_target,
        drawn,
        partial(_dense_curve, dense),
        scales.steps_axis,
        scales.error_axis(np.concatenate([curve.to_numpy() for curve in curves.values()]), "Validation accuracy"),
        [dense_line()] if dense is not None else [],
    )
    caption = sentence(
        f"{view.title}: validation accuracy in the last training, after the last rewind and where the final sparsity "
        f"held, at the target of {percentage(view.target)} sparsity, {seeds(rows)}",
        ERROR_AXIS,
        *(["the dashed line is the dense network"] if dense is not None else []),
        *remarks(view, rows),
        f"what was measured less than {CURVE} times is left out",
    )
    return caption, partial(lines, chart, setting)


def _dense_curve(curve: pd.Series[float] | None, axes: Axes) -> None:
    if curve is not None:
        axes.plot(curve.index, curve, color=DENSE, linestyle="--", linewidth=1.1, zorder=2, gid="dense")


@dataclass(frozen=True)
class FigureKind:
    """What draws a kind of figure, and what it needs to have something to show."""

    sketch: Callable[[View, Setting], Sketch | None]
    needs: str


KINDS = {
    "accuracy": FigureKind(_accuracy, "a method that prunes and has finished"),
    "early-stop": FigureKind(_early_stop, "two methods whose lowest validation loss came before their last step"),
    "pareto": FigureKind(_training, "a dense network, and methods whose FLOPs of training differ"),
    "pareto-inference": FigureKind(_inference, "methods whose FLOPs of inference differ at one sparsity"),
    "layers": FigureKind(heatmaps.layers, "a method that prunes and whose record counts weights by layer"),
    "curves": FigureKind(_learning, f"a method with {CURVE} measurements in its last training at the final sparsity"),
    "overlap": FigureKind(heatmaps.overlap, "tickets, or the file overlap.csv beside the records"),
}


def _listed(words: Iterable[str]) -> str:
    *most, last = words
    return f"{', '.join(most)} and {last}" if most else last
