"""What each kind of figure shows of a leaderboard, and in what words; None where there is nothing to show."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import partial

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.colors import LogNorm, Normalize
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from lth_bench import charts, escaping, scales
from lth_bench.drawing import DENSE, Mark, wrapped
from lth_bench.scales import Drawn, Floats

Block = tuple[str, str, str]
PANELS = 4  # targets shown in one figure
ALIKE = 1.05  # costs that differ less are not worth a figure
CURVE = 3  # points that make a curve
ANNOTATED = 12  # columns up to which the cells of a heat map hold numbers
ACCURACY = ["accuracy", "accuracy_lower", "accuracy_upper"]
HOLLOW = "a hollow marker"
ERROR_AXIS = (
    "the axis is logarithmic in the error, so that good methods can be told apart and collapsed ones are in sight"
)


@dataclass(frozen=True)
class Shown:
    """A leaderboard as figures see it.

    `early` bounds the means of early-stop steps, and has the index of the rows; `target` is the one shown where there
    is room for one. `layers` has, for each method there, the shares of weights left: a row a seed, a column a layer;
    `curves` the validation accuracy in per cent by step, the dense network's under "".
    """

    block: Block
    title: str
    rows: pd.DataFrame
    looks: dict[str, Mark]
    early: pd.DataFrame
    target: float
    layers: dict[str, pd.DataFrame]
    curves: dict[str, pd.Series[float]]
    overlaps: pd.DataFrame | None

    @property
    def dense(self) -> pd.DataFrame:
        """The row of the dense network, or none."""
        rows = self.rows
        return rows[(rows["target"] == 0) & (rows["control"] == "") & ~rows["own_recipe"] & (rows["n"] > 0)].head(1)

    @property
    def sparse(self) -> pd.DataFrame:
        """What pruned something and finished."""
        return self.rows[(self.rows["target"] > 0) & (self.rows["n"] > 0) & self.rows["accuracy"].notna()]


Sketch = tuple[str, Callable[[], Figure]]
"""A caption, and what draws its figure."""


def _accuracy(shown: Shown) -> Sketch | None:
    rows = shown.sparse
    if rows.empty:
        return None
    rows = rows.assign(hollow=rows["failed"] + rows["diverged"] > 0)
    accuracies = np.concatenate([rows["accuracy"], shown.dense["accuracy"]])
    chart = _against_sparsity(
        shown,
        rows.rename(columns={"accuracy": "y", "accuracy_lower": "lower", "accuracy_upper": "upper"}),
        "a seed failed or diverged",
        (_level(shown.dense, ACCURACY), scales.error_axis(accuracies, "Test accuracy")),
    )
    caption = _sentence(
        f"{shown.title}: test accuracy at the last step against measured sparsity, {_means(rows)}",
        ERROR_AXIS,
        *_dense_words(shown),
        *([f"{HOLLOW}: some seed failed or diverged"] if rows["hollow"].any() else []),
        *_words(shown, rows),
    )
    return caption, partial(charts.lines, chart)


def _early_stop(shown: Shown) -> Sketch | None:
    rows = shown.sparse
    rows = rows[rows["early_stop_step"].notna()]
    some = (rows["censored"] < rows["n"]).groupby(rows["method"]).transform("any")
    dense = shown.dense[shown.dense["censored"] < shown.dense["n"]]
    left_out = rows[~some]["method"].nunique()
    rows = rows[some]
    if rows["method"].nunique() + len(dense) < 2 or rows.empty:
        return None
    y_axis = scales.counts_axis(
        np.concatenate([rows["early_stop_step"], shown.dense["early_stop_step"]]), "Early-stop step"
    )
    rows = rows.assign(y=rows["early_stop_step"], hollow=rows["censored"] > 0).join(shown.early)
    chart = _against_sparsity(
        shown,
        rows,
        "at the last step for a seed",
        (_level(shown.dense.join(shown.early), ["early_stop_step", "lower", "upper"]), y_axis),
    )
    caption = _sentence(
        f"{shown.title}: step of the lowest validation loss since the last rewind against measured sparsity, "
        f"{_means(rows)}",
        *_dense_words(shown),
        *([f"{HOLLOW}: for some seed that was the last step, so that it is no more than a lower bound"]
          if rows["hollow"].any() else []),
        *(["that of the dense network is one for every seed"] if len(shown.dense) > len(dense) else []),
        *_words(shown, rows),
        *([f"{_count(left_out)} of which that is so for every seed left out"] if left_out else []),
    )  # fmt: skip
    return caption, partial(charts.lines, chart)


def _against_sparsity(shown: Shown, rows: pd.DataFrame, care: str, axes: tuple[Drawn, Drawn]) -> charts.Lines:
    rows = rows.assign(x=scales.positive((1 - rows["sparsity"]).round(9).to_numpy()))
    left, targets = rows["x"].to_numpy(), sorted(set(rows["target"]))
    span = math.log(max(left.max() / left.min(), 1.3))
    gaps = np.diff(np.log1p(-np.array(targets)))
    apart = min(0.015 * span if gaps.size else 0.1 * span, 0.08 * np.abs(gaps).min(initial=math.inf))
    bars = Line2D([], [], color="0.4", linestyle="", marker="|", markersize=7, label="95 % interval")
    hollow = Line2D([], [], color="0.4", linestyle="", marker="o", markerfacecolor="white", label=care)
    return charts.Lines(
        escaping.figure(shown.title),
        [_line(shown, part.sort_values("x", ascending=False), charts.LABELS) for part in _methods(rows)],
        axes[0],
        scales.weights_left_axis(left, targets, charts.REACH),
        axes[1],
        [*_dense_key(shown), *([bars] if (rows["n"] > 1).any() else []), *([hollow] if rows["hollow"].any() else [])],
        math.exp(-apart),
    )


def _methods(rows: pd.DataFrame) -> Iterator[pd.DataFrame]:
    return (part for _, part in rows.groupby("method", sort=False))


def _line(shown: Shown, rows: pd.DataFrame, room: float) -> charts.Line:
    """A method's rows with columns x, y, lower, upper and hollow."""
    method, own = rows["method"].iloc[0], rows["own_recipe"].iloc[0]
    x, y, lower, upper = (rows[name].to_numpy(dtype=float) for name in ("x", "y", "lower", "upper"))
    hollow = rows["hollow"].to_numpy(dtype=bool)
    dagger = " †" * bool(own)
    name, label = escaping.figure(method) + dagger, wrapped(method, room) + dagger
    return charts.Line(shown.looks[method], name, label, x, y, lower, upper, hollow)


def _level(dense: pd.DataFrame, columns: list[str]) -> Drawn:
    """The dense network where x is no property of it, and the bounds of its mean."""

    def apply(axes: Axes) -> None:
        for mean, lower, upper in dense[columns].to_numpy(dtype=float):
            axes.axhline(mean, color=DENSE, linestyle="--", linewidth=1.1, zorder=2, gid="dense")
            if np.isfinite(lower):
                axes.axhspan(lower, upper, color=DENSE, alpha=0.1, linewidth=0, zorder=1, gid="dense")

    return apply


def _dense_key(shown: Shown) -> list[Line2D]:
    return [charts.dense_line()] if len(shown.dense) else []


def _cost(shown: Shown, relative: Floats, words: tuple[str, str]) -> Sketch | None:
    """Accuracy against a cost, as multiples of the dense network's."""
    rows = shown.rows.assign(x=relative).loc[shown.sparse.index]
    whole = (rows["failed"] == 0) & (rows["diverged"] == 0)
    rows = rows[
        (rows["control"] == "") & rows["x"].notna() & np.isfinite(rows["x"]) & (rows["place"] == rows["target"])
    ]
    rows = rows.assign(x=scales.positive(rows["x"].to_numpy()), hollow=~whole)
    rows = rows.rename(columns={"accuracy": "y", "accuracy_lower": "lower", "accuracy_upper": "upper"})
    targets = _few(sorted(set(rows["target"])))
    rows = rows[rows["target"].isin(targets)]
    costs = rows.groupby("target")["x"]
    if (costs.max() < ALIKE * costs.min()).all():
        return None
    accuracies = np.concatenate([rows["y"], shown.dense["accuracy"]])
    chart = charts.Pareto(
        escaping.figure(shown.title),
        [_points(shown, rows[rows["target"] == target]) for target in targets],
        _level(shown.dense, ACCURACY),
        scales.ratio_axis(rows["x"].to_numpy(), words[0]),
        scales.error_axis(accuracies, "Test accuracy", room=1.8),
        [*_dense_key(shown), Line2D([], [], color="0.45", linewidth=1.0, label="Pareto front")],
    )
    caption = _sentence(
        f"{shown.title}: test accuracy at the last step against {words[1]}, relative to the dense network, "
        f"at {_listed(scales.percentage(target) for target in targets)} sparsity, {_means(rows)}",
        "the line is the Pareto front of the means, whose methods are named, where costs within 1 % count as the same",
        ERROR_AXIS,
        *_dense_words(shown),
        *(
            [f"{HOLLOW}: some seed failed or diverged, so that it cannot be on the front"]
            if rows["hollow"].any()
            else []
        ),
        *_words(shown, rows),
        "controls and what missed its target are left out",
    )
    return caption, partial(charts.pareto, chart)


def _few(targets: list[float]) -> list[float]:
    places = np.linspace(0, len(targets) - 1, min(PANELS, len(targets))).round().astype(int)
    return [targets[place] for place in places]


def _points(shown: Shown, rows: pd.DataFrame) -> charts.Points:
    lines = [_line(shown, part, 12.0) for _, part in rows.groupby(["method", "target"], sort=False)]
    title = f"{scales.percentage(float(rows['target'].iloc[0]))} sparsity"
    return charts.Points(title, lines, np.array([not line.hollow[0] for line in lines]))


def _training(shown: Shown) -> Sketch | None:
    dense = shown.dense["training_flops"]
    if dense.empty or not dense.iloc[0] > 0:
        return None
    words = ("Training FLOPs, search included (dense = 1×)", "FLOPs of training, the search included")
    return _cost(shown, (shown.rows["training_flops"] / dense.iloc[0]).to_numpy(), words)


def _inference(shown: Shown) -> Sketch | None:
    words = ("Inference FLOPs (dense = 1×)", "FLOPs of inference that counts weights left alone")
    return _cost(shown, shown.rows["inference_share"].to_numpy(), words)


def _layers(shown: Shown) -> Sketch | None:
    """Weights left in each layer, as sparsity."""
    means = {method: shown.layers[method].mean() for method in shown.looks if method in shown.layers}
    if not means:
        return None
    left = pd.DataFrame(means).T
    names = list(dict.fromkeys(name for seeds in shown.layers.values() for name in seeds.columns))
    left = left[names]
    emptied = pd.DataFrame({method: (shown.layers[method] == 0).any() for method in means}).T
    crosses = emptied.reindex(index=left.index, columns=names).fillna(False).to_numpy(dtype=bool)
    texts = left.map(lambda share: scales.percentage(1 - share)[:-1]) if len(names) <= ANNOTATED else pd.DataFrame()
    texts = texts.mask(pd.DataFrame(crosses, left.index, names), texts + " ×") if texts.size else texts
    least = max(1e-4, float(np.min(left.to_numpy()[left.to_numpy() > 0], initial=0.1)))
    floor = 10.0 ** math.floor(math.log10(least) + 1e-9)
    chart = charts.Heat(
        _title(shown),
        left.clip(lower=floor),
        [shown.looks[method] for method in left.index],
        [_named(shown, method) for method in left.index],
        [escaping.figure(name.removesuffix(".weight")) for name in names],
        texts,
        LogNorm(floor, 1.0),
        "viridis",
        "Sparsity (%)",
        {share: f"{100 * (1 - share):.10g}" for share in 10.0 ** np.arange(round(math.log10(floor)), 1)},
        crosses if not texts.size else np.zeros((0, 0), dtype=bool),
    )
    rows = shown.rows[(shown.rows["target"] == shown.target) & shown.rows["method"].isin(list(means))]
    caption = _sentence(
        f"{shown.title}: sparsity of each layer, in the order of the network, at the target of "
        f"{scales.percentage(shown.target)}, {_means(rows, bars=False)}",
        "colours are logarithmic in the weights left",
        *(["a cross marks layers that lost all weights for some seed"] if crosses.any() else []),
        *_words(shown, rows),
    )
    return caption, partial(charts.heat, chart)


def _title(shown: Shown) -> str:
    return f"{escaping.figure(shown.title)}, {scales.percentage(shown.target)} sparsity"


def _named(shown: Shown, method: str) -> str:
    own = shown.rows.loc[shown.rows["method"] == method, "own_recipe"].iloc[0]
    return escaping.figure(method) + " †" * bool(own)


def _learning(shown: Shown) -> Sketch | None:
    curves = {method: curve for method, curve in shown.curves.items() if len(curve) >= CURVE}
    if not set(curves) - {""}:
        return None
    rows = shown.rows[(shown.rows["target"] == shown.target) & shown.rows["method"].isin(list(curves))]
    dense = curves.get("")
    lines = []
    for part in _methods(rows):
        curve = curves[part["method"].iloc[0]]
        values = {"x": curve.index, "y": curve, "lower": np.nan, "upper": np.nan, "hollow": False}
        found = pd.DataFrame(values).assign(method=part["method"].iloc[0], own_recipe=part["own_recipe"].iloc[0])
        lines.append(_line(shown, found, charts.LABELS))
    chart = charts.Lines(
        _title(shown),
        lines,
        partial(_dense_curve, dense),
        scales.steps_axis,
        scales.error_axis(np.concatenate([curve.to_numpy() for curve in curves.values()]), "Validation accuracy"),
        [charts.dense_line()] if dense is not None else [],
    )
    caption = _sentence(
        f"{shown.title}: validation accuracy in the last training, after the last rewind, at the target of "
        f"{scales.percentage(shown.target)} sparsity, {_means(rows, bars=False)}",
        ERROR_AXIS,
        *(["the dashed line is the dense network"] if dense is not None else []),
        *_words(shown, rows),
        f"what was measured less than {CURVE} times is left out",
    )
    return caption, partial(charts.lines, chart)


def _dense_curve(curve: pd.Series[float] | None, axes: Axes) -> None:
    if curve is not None:
        axes.plot(curve.index, curve, color=DENSE, linestyle="--", linewidth=1.1, zorder=2, gid="dense")


def _overlap(shown: Shown) -> Sketch | None:
    table = shown.overlaps
    if table is None or not table.notna().to_numpy().any():
        return None
    known = table.notna()
    kept = [name for name in table.index if known.loc[name].any() and name in shown.looks]
    table = table.loc[kept, kept]
    texts = table.map(lambda value: f"{value:.2f}") if len(kept) <= ANNOTATED else pd.DataFrame()
    names = [_named(shown, method) for method in kept]
    chart = charts.Heat(
        _title(shown), table, [shown.looks[method] for method in kept], names, names, texts,
        Normalize(0.0, 1.0), "viridis", "Jaccard overlap of masks", 
        {tick: f"{tick:g}" for tick in (0, 0.25, 0.5, 0.75, 1)},
    )  # fmt: skip
    rows = shown.rows[(shown.rows["target"] == shown.target) & shown.rows["method"].isin(kept)]
    caption = _sentence(
        f"{shown.title}: overlap of masks (weights that both keep, as a share of those that either keeps) at the "
        f"target of {scales.percentage(shown.target)} sparsity, {_means(rows, bars=False)}",
        "on the diagonal that of different seeds of one method",
        "grey is not known",
        *_words(shown, rows),
    )
    return caption, partial(charts.heat, chart)


SKETCHES: dict[str, Callable[[Shown], Sketch | None]] = {
    "accuracy": _accuracy,
    "early-stop": _early_stop,
    "pareto-training": _training,
    "pareto-inference": _inference,
    "layers": _layers,
    "curves": _learning,
    "overlap": _overlap,
}


def _sentence(*clauses: str) -> str:
    return "; ".join(clauses) + "."


def _means(rows: pd.DataFrame, bars: bool = True) -> str:
    least, most = int(rows["n"].min()), int(rows["n"].max())
    if most == 1:
        return "of one seed" + ", without intervals" * bars
    seeds = f"means over {most} seeds" if least == most else f"means over {least} to {most} seeds"
    return seeds + ", bars are Student's 95 % intervals, cut off at the edge of a panel" * bars


def _dense_words(shown: Shown) -> list[str]:
    if shown.dense.empty:
        return []
    band = ", the band its interval" if shown.dense["n"].iloc[0] > 1 else ""
    return [f"the dashed line is the dense network{band}"]


def _words(shown: Shown, rows: pd.DataFrame) -> list[str]:
    """What daggers mean, and what is left out because it is not there."""
    finished = shown.rows.groupby("method")["n"].sum()
    absent = int((finished == 0).sum())
    return [
        *(["† is trained with a recipe of its own"] if rows["own_recipe"].any() else []),
        *([f"{_count(absent)} without a finished run left out"] if absent else []),
    ]


def _count(number: int) -> str:
    return f"{number} method{'s' * (number != 1)}"


def _listed(words: Iterable[str]) -> str:
    *most, last = words
    return f"{', '.join(most)} and {last}" if most else last
