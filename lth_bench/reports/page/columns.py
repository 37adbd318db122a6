"""The columns of the tables of a page: how their numbers are shown, what they mean, and rows of records under them."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from itertools import groupby
from typing import Any, NamedTuple

from lth_bench.results.leaderboard import STATUSES

Row = dict[str, Any]
Form = Callable[[float], str]

NONE = "–"
HUNDREDTHS, THOUSANDTHS, FINELY = "{:.2f}".format, "{:.3f}".format, "{:.4%}".format
TONES = (*STATUSES, "wins", "fails", "unknown", "yes", "no", "unclear")


@dataclass(frozen=True)
class Column:
    """A column: what it is sorted by, how numbers are shown (None: words), what it means, and with which others."""

    head: str
    name: str
    form: Form | None = None
    hint: str = ""
    group: str = ""
    interval: bool = False

    def cell(self, row: Row) -> Cell:
        value = row[self.name]
        if self.form is None:
            return Cell(str(value) or NONE, kind=self.name, tone=value if value in TONES else "")
        if math.isnan(value):
            return Cell(NONE)
        bounds = [row[f"{self.name}_{side}"] for side in ("lower", "upper") if self.interval]
        told = bounds and not any(map(math.isnan, bounds))
        return Cell(self.form(value), f"[{', '.join(map(self.form, bounds))}]" if told else "", f"{value:.12g}")


class Cell(NamedTuple):
    """What is shown, what stands behind it, the number that it is sorted by, what it is, and how it is coloured."""

    text: str
    rest: str = ""
    value: str = ""
    kind: str = ""
    tone: str = ""


@dataclass(frozen=True)
class Line:
    """A row of a table: its cells, what its method is marked with, and what the script knows it by."""

    cells: list[Cell]
    marks: list[str]
    path: str
    data: dict[str, str]


@dataclass(frozen=True)
class Table:
    caption: str
    columns: list[Column]
    lines: list[Line]

    @property
    def groups(self) -> list[tuple[str, int]]:
        """The heads above the heads, and over how many columns each stands."""
        return [(name, len(list(found))) for name, found in groupby(column.group for column in self.columns)]


def signed(value: float) -> str:
    return f"{value:+.2f}".replace("-", "−") if abs(value) >= 0.005 else "0.00"


def percent(value: float) -> str:
    """A share of one, with the digits that it takes to tell targets apart."""
    return f"{100 * value:.6g}%"


def _roughly(value: float) -> str:
    return f"{100 * value:.3g}%"


def _probability(value: float) -> str:
    return "< 0.001" if value < 0.001 else f"{value:.3f}"


def _prefixed(value: float) -> str:
    """Three digits and a decimal prefix, as of FLOPs, parameters and bytes."""
    size = min(max(int(math.log10(1.0005 * value) // 3), 0), 6) if 0 < value < math.inf else 0
    return f"{value / 1000**size:.3g} {' kMGTPE'[size]}".strip()


def _bytes(value: float) -> str:
    shown = _prefixed(value)
    return f"{shown}B" if shown[-1].isalpha() else f"{shown} B"


def _times(value: float) -> str:
    return f"{value:.3g}×" if value < math.inf else "∞"


def _milliseconds(value: float) -> str:
    return f"{1000 * value:.3g} ms"


def _seconds(value: float) -> str:
    return f"{value:.1f} s" if value < 600 else f"{value / 3600:.1f} h"


def _count(value: float) -> str:
    return f"{value:.1f}".removesuffix(".0")


METHOD = Column("method", "method", hint="† trained with a recipe of its own; controls are marked as such.")
BOARD = Column("leaderboard", "board")
DETAILS = [
    METHOD,
    Column("target", "target", percent, "The sparsity that was asked for.", "sparsity"),
    Column(
        "measured", "sparsity", FINELY,
        "1 − weights left ÷ prunable weights, counted on the final network.", "sparsity",
    ),
    Column(
        "effective", "effective_sparsity", FINELY,
        "The same, when weights on no path from input to output do not count as left.", "sparsity",
    ),
    Column("collapsed", "collapsed_layers", _count, "Layers in which no weight is left, on average.", "sparsity"),
    Column(
        "accuracy", "accuracy", HUNDREDTHS,
        "Mean test accuracy in per cent at the last step, with Student's 95 % interval over seeds.", "accuracy",
        interval=True,
    ),
    Column("seeds", "n", _count, "Seeds that finished; all means are over these.", "accuracy"),
    Column("lost", "lost", None, "Seeds that diverged, failed or are missing; they are in no mean.", "accuracy"),
    Column("calibration", "calibration_error", HUNDREDTHS, "Expected calibration error, in per cent.", "accuracy"),
    Column(
        "difference", "difference", signed,
        "To the dense network of the same seed, in points, with its paired 95 % interval.", "against dense",
        interval=True,
    ),
    Column("p", "p", _probability, "Paired t test, two-sided.", "against dense"),
    Column("p, Holm", "p_holm", _probability, "The same, adjusted over the methods at this sparsity.", "against dense"),
    Column("p, sign flips", "sign_flip_p", _probability, "The exact sign-flip test, two-sided.", "against dense"),
    Column(
        "its least", "sign_flip_least", THOUSANDTHS,
        "What that p cannot fall below with so few seeds: above 0.05, it can never be significant.", "against dense",
    ),
    Column(
        "rank", "rank", _count,
        "Among the methods at this sparsity; controls, and methods that lost a seed, have none.", "standing",
    ),
    Column(
        "area", "area", HUNDREDTHS,
        "Mean accuracy over −log₁₀(1 − sparsity), of methods that finished all usual targets.", "standing",
    ),
    Column("ticket", "verdict", None, "Whether it wins, fails, or is unknown; see “Winning tickets?”.", "standing"),
    Column(
        "FLOPs", "training_flops", _prefixed,
        "Of training and search, if every pruned weight were skipped.", "training",
    ),
    Column("× dense", "training_ratio", _times, "The same, over that of the dense network.", "training"),
    Column(
        "dense FLOPs", "training_flops_dense", _prefixed,
        "Of the same work on dense matrices, with nothing skipped.", "training",
    ),
    Column("× dense", "training_dense_ratio", _times, "The same, over that of the dense network.", "training"),
    Column("FLOPs", "inference_flops", _prefixed, "Of one image, if every pruned weight is skipped.", "inference"),
    Column("of dense", "inference_share", _roughly, "Their share of the dense network's.", "inference"),
    Column(
        "speed-up", "theoretical_speedup", _times,
        "Theoretical, not measured: FLOPs of the dense network over these.", "inference",
    ),
    Column(
        "latency", "latency", _milliseconds,
        "Measured: the median of a forward pass of one image through the network as it stands.", "inference",
    ),
    Column("parameters", "parameters", _prefixed, "Left, with those that are not prunable.", "size"),
    Column("dense", "bytes_dense", _bytes, "All of them as 4-byte numbers.", "size"),
    Column("bitmap", "bytes_bitmap", _bytes, "A bit for each weight, and those left.", "size"),
    Column("CSR", "bytes_csr", _bytes, "Compressed sparse rows.", "size"),
    Column("time", "seconds", _seconds, "Wall-clock in workers; what was looked up costs nothing.", "run"),
    Column("memory", "peak_memory", _bytes, "The most that training held on the GPU, else the whole process.", "run"),
]  # fmt: skip
STANDING = [
    METHOD,
    Column("mean rank", "mean_rank", HUNDREDTHS, "Over the cells in which it was ranked."),
    Column("best", "best", _count, "In how many cells it is not told from the best."),
    Column("cells", "cells", _count, "Sparsities of leaderboards in which it was ranked."),
    Column("asked", "asked", _count, "In how many it should have been: means over different cells do not compare."),
    Column("leaderboards", "leaderboards", _count),
    Column("difference", "difference", signed, "To dense, in points, over all of them."),
]
VERDICTS = [
    METHOD,
    BOARD,
    Column("sparsity", "place", percent),
    Column("ticket", "verdict"),
    Column("why", "why"),
]
BADGES = [
    METHOD,
    BOARD,
    Column("control", "changed"),
    Column("question", "question"),
    Column("answer", "verdict"),
    Column("difference", "difference", signed, "Method − control, in points, with its paired 95 % interval.", "", True),
    Column("seeds", "n", _count),
]
TROUBLES = [
    METHOD,
    Column("status", "status"),
    Column("kind", "kind"),
    Column("what it says", "message"),
    Column("record", "key"),
]
EXPERIMENTS = [
    METHOD,
    BOARD,
    Column("sparsity", "asked", percent, "As asked for."),
    Column("seed", "seed", _count),
    Column("status", "status"),
    Column("accuracy", "last_accuracy", HUNDREDTHS, "Test accuracy in per cent at the last step."),
    Column("difference", "difference", signed, "To the dense network of the same seed, in points."),
    Column("record", "key"),
]


def table(caption: str, columns: list[Column], rows: list[Row]) -> Table:
    """A line for each row; columns of numbers of which none is known are left out."""
    shown = [c for c in columns if c.form is None or not all(math.isnan(row[c.name]) for row in rows)]
    return Table(caption, shown, [_line(row, shown) for row in rows])


def _line(row: Row, columns: list[Column]) -> Line:
    return Line([column.cell(row) for column in columns], marks(row), row.get("path", ""), data(row))


def marks(row: Row) -> list[str]:
    return ["†"] * bool(row.get("own_recipe")) + ["control"] * bool(row.get("control"))


def data(row: Row) -> dict[str, str]:
    """What a row is filtered and highlighted by, and which record it is of, as far as it is of one."""
    known = {name: str(row[name]) for name in ("block", "number", "control", "record", "command") if name in row}
    return {name: value for name, value in known.items() if value} | (
        {"targets": percent(row["target"])} if "target" in row else {}
    )
