"""Figures of a run directory, as PNG and SVG."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import matplotlib
import pandas as pd

matplotlib.use("agg")

import matplotlib.pyplot as plt
import seaborn as sns
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FixedLocator, FuncFormatter, NullLocator

from lth_bench.leaderboard import shown_name
from lth_bench.results import BLOCK, dense_runs

STYLE: Any = {"svg.hashsalt": "lth-bench", "svg.fonttype": "none", "font.size": 10}
PALETTE = "colorblind"


def figures(frame: pd.DataFrame, folder: Path) -> list[Path]:
    """Draws both figures of every data set and model; returns the PNG paths."""
    done = frame[frame["status"] == "done"]
    done = done.assign(method=[shown_name(row).replace("$", r"\$") for row in done.itertuples()])
    paths: list[Path] = []
    with sns.axes_style("whitegrid"), sns.plotting_context("notebook"), plt.rc_context(STYLE):
        for (dataset, model), rows in done.groupby(BLOCK, sort=False):
            for name, column, text in (
                ("accuracy", "last_accuracy", "Test accuracy (%)"),
                ("early-stop", "early_stop_step", "Early-stop step (lowest validation loss)"),
            ):
                figure = _against_sparsity(rows, column, text, f"{model} on {dataset}".replace("$", r"\$"))
                stem = f"{name}-{_slug(f'{model}-{dataset}')}"
                while folder / f"{stem}.png" in paths:
                    stem += "-other"
                paths.append(_saved(figure, folder / stem))
    return paths


def _against_sparsity(rows: pd.DataFrame, column: str, text: str, title: str) -> Figure:
    """Means over seeds with their standard deviation, against weights left, on average, on a logarithmic axis."""
    height = 0.6 + 0.22 * rows["method"].nunique()  # of the legend
    figure, axes = plt.subplots(figsize=(9, max(4.6, height)), layout="constrained")
    sparse = rows[rows["asked"] > 0]
    measured = sparse.groupby(["method", "asked"])["sparsity"].transform("mean")
    sparse = sparse.assign(left=100 * (1 - measured).round(6))
    dense = dense_runs(rows[~rows["own_recipe"]])
    _dense_band(axes, dense.drop_duplicates([*BLOCK, "seed"])[column])
    if len(sparse):
        _curves(axes, sparse, column)
    axes.set(xlabel="Sparsity (logarithmic in the weights left)", ylabel=text, title=title)
    axes.legend(title=None, loc="upper left", bbox_to_anchor=(1.01, 1), frameon=False, fontsize="small")
    return figure


def _curves(axes: Axes, sparse: pd.DataFrame, column: str) -> None:
    methods = list(dict.fromkeys(sparse["method"]))
    sns.lineplot(
        sparse, x="left", y=column, hue="method", style="method", hue_order=methods, style_order=methods,
        markers=True, dashes=False, errorbar="sd", err_style="bars", err_kws={"capsize": 3},
        palette=sns.color_palette(PALETTE, len(methods)), ax=axes,
    )  # fmt: skip
    _weights_left_axis(axes, sorted({100 * (1 - asked) for asked in sparse["asked"]}))


def _dense_band(axes: Axes, values: pd.Series[float]) -> None:
    if values.empty:
        return
    mean, spread = values.mean(), values.std() if len(values) > 1 else 0.0
    axes.axhline(mean, color="0.35", linestyle="--", linewidth=1.2, label="dense", zorder=1)
    axes.axhspan(mean - spread, mean + spread, color="0.35", alpha=0.12, linewidth=0)


def _weights_left_axis(axes: Axes, left: list[float]) -> None:
    axes.set_xscale("log")
    axes.invert_xaxis()
    axes.xaxis.set_major_locator(FixedLocator(left))
    axes.xaxis.set_minor_locator(NullLocator())
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{100 - value:.3g}%"))


def _saved(figure: Figure, stem: Path) -> Path:
    stem.parent.mkdir(parents=True, exist_ok=True)
    png = stem.with_name(stem.name + ".png")
    figure.savefig(png, dpi=150, metadata={"Software": None})
    figure.savefig(stem.with_name(stem.name + ".svg"), metadata={"Date": None})
    plt.close(figure)
    return png


def _slug(text: str) -> str:
    return re.sub(r"[^a-z0-9]+", "-", text.lower()).strip("-")
