"""The listings of a page: their columns with hints, and the attributes of rows that the script uses."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from lth_bench.reports.numbers import (
    count,
    duration,
    hundredths,
    milliseconds,
    percent,
    percentage,
    prefixed,
    prefixed_bytes,
    probability,
    signed_or_zero,
    ten_thousandths_percent,
    thousandths,
    three_digits_percent,
    times,
    whole,
)
from lth_bench.reports.table import Column, Table, listing

METHOD = Column(
    "method", "method", hint="† trained with a recipe of its own; controls are marked as such.", notes="marks"
)
BOARD = Column("leaderboard", "board")
KEY = Column("record", "key", notes="folder", link="page")
DETAILS = [
    METHOD,
    Column("target", "target", percent, "The sparsity that was asked for.", "sparsity"),
    Column(
        "measured", "sparsity", ten_thousandths_percent,
        "1 − weights left ÷ prunable weights, counted on the final network.", "sparsity",
    ),
    Column(
        "effective", "effective_sparsity", ten_thousandths_percent,
        "The same, when weights on no path from input to output do not count as left.", "sparsity",
    ),
    Column("collapsed", "collapsed_layers", count, "Layers in which no weight is left, on average.", "sparsity"),
    Column(
        "accuracy", "accuracy", hundredths,
        "Mean test accuracy in per cent at the last step, with Student's 95 % interval over seeds.", "accuracy",
        interval=True,
    ),
    Column("seeds", "n", count, "Seeds that finished; all means are over these.", "accuracy"),
    Column("lost", "lost", None, "Seeds that diverged, failed or are missing; they are in no mean.", "accuracy"),
    Column("calibration", "calibration_error", hundredths, "Expected calibration error, in per cent.", "accuracy"),
    Column(
        "difference", "difference", signed_or_zero,
        "To the dense network of the same seed, in points, with its paired 95 % interval.", "against dense",
        interval=True,
    ),
    Column("p", "p", probability, "Paired t test, two-sided.", "against dense"),
    Column("p, Holm", "p_holm", probability, "The same, adjusted over the methods at this sparsity.", "against dense"),
    Column("p, sign flips", "sign_flip_p", probability, "The exact sign-flip test, two-sided.", "against dense"),
    Column(
        "its least", "sign_flip_least", thousandths,
        "What that p cannot fall below with so few seeds: above 0.05, it can never be significant.", "against dense",
    ),
    Column(
        "rank", "rank", count,
        "Among the methods at this sparsity; controls, and methods that lost a seed, have none.", "standing",
    ),
    Column(
        "area", "area", hundredths,
        "Mean accuracy over −log₁₀(1 − sparsity), of methods that finished all usual targets.", "standing",
    ),
    Column("ticket", "verdict", None, "Whether it wins, fails, or is unknown; see “Winning tickets?”.", "standing"),
    Column(
        "FLOPs", "training_flops", prefixed,
        "Of training and search, if every pruned weight were skipped.", "training",
    ),
    Column("× dense", "training_ratio", times, "The same, over that of the dense network.", "training"),
    Column(
        "dense FLOPs", "training_flops_dense", prefixed,
        "Of the same work on dense matrices, with nothing skipped.", "training",
    ),
    Column("× dense", "training_dense_ratio", times, "The same, over that of the dense network.", "training"),
    Column("FLOPs", "inference_flops", prefixed, "Of one image, if every pruned weight is skipped.", "inference"),
    Column("of dense", "inference_share", three_digits_percent, "Their share of the dense network's.", "inference"),
    Column(
        "speed-up", "theoretical_speedup", times,
        "Theoretical, not measured: FLOPs of the dense network over these.", "inference",
    ),
    Column(
        "latency", "latency", milliseconds,
        "Measured: the median of a forward pass of one image through the network as it stands.", "inference",
    ),
    Column("parameters", "parameters", prefixed, "Left, with those that are not prunable.", "size"),
    Column("dense", "bytes_dense", prefixed_bytes, "All of them as 4-byte numbers.", "size"),
    Column("bitmap", "bytes_bitmap", prefixed_bytes, "A bit for each weight, and those left.", "size"),
    Column("CSR", "bytes_csr", prefixed_bytes, "Compressed sparse rows.", "size"),
    Column("time", "seconds", duration, "Wall-clock in workers; what was looked up costs nothing.", "run"),
    Column(
        "memory", "peak_memory", prefixed_bytes,
        "The most that training held on the GPU, else the whole process.", "run",
    ),
]  # fmt: skip
METHODS = [
    Column("method", "method"),
    Column("family", "family"),
    Column("pruner", "pruner"),
    Column("control", "control"),
    Column("recipe", "recipes"),
    Column("paper", "paper", link="link"),
]
STANDING = [
    METHOD,
    Column("mean rank", "mean_rank", hundredths, "Over the cells that all compared methods have.", interval=True),
    Column(
        "improvability", "improvability", hundredths, "1 − lowest error of a cell ÷ its own, in per cent.",
        interval=True,
    ),
    Column("Elo", "elo", whole, "400 points are odds of ten to one of the higher mean.", interval=True),
    Column("best", "best", count, "In how many cells it is the best or not told from it."),
    Column("cells", "cells", count, "Sparsities of leaderboards in which it was ranked."),
    Column("asked", "asked", count, "In how many it should have been."),
    Column("leaderboards", "leaderboards", count),
    Column("difference", "difference", signed_or_zero, "To dense, in points, over all of them."),
]  # fmt: skip
VERDICTS = [
    METHOD,
    BOARD,
    Column("sparsity", "place", percentage),
    Column("ticket", "verdict"),
    Column("why", "why"),
]
BADGES = [
    METHOD,
    BOARD,
    Column("control", "changed"),
    Column("question", "question"),
    Column("answer", "verdict"),
    Column(
        "difference",
        "difference",
        signed_or_zero,
        "Method − control, in points, with its paired 95 % interval.",
        "",
        True,
    ),
    Column("seeds", "n", count),
]
TROUBLES = [
    METHOD,
    Column("status", "status"),
    Column("kind", "kind"),
    Column("what it says", "message"),
    KEY,
]
EXPERIMENTS = [
    METHOD,
    BOARD,
    Column("sparsity", "asked", percent, "As asked for."),
    Column("seed", "seed", count),
    Column("status", "status"),
    Column("accuracy", "last_accuracy", hundredths, "Test accuracy in per cent at the last step."),
    Column("difference", "difference", signed_or_zero, "To the dense network of the same seed, in points."),
    KEY,
]


def listed(title: str, columns: Sequence[Column], rows: Sequence[Mapping[str, Any]]) -> Table:
    """A table with a row for each record, with the marks of its method and its attributes."""
    records = [{"folder": (), "page": "", **row, "marks": marks(row), "data": data(row)} for row in rows]
    return listing(title, columns, records)


def marks(row: Mapping[str, Any]) -> tuple[str, ...]:
    return ("†",) * bool(row.get("own_recipe")) + ("control",) * bool(row.get("control"))


def data(row: Mapping[str, Any]) -> dict[str, str]:
    """Attributes of a row: what it is filtered and highlighted by, and the record that it shows."""
    attributes = {name: str(row[name]) for name in ("block", "number", "control", "record", "command") if name in row}
    return {name: value for name, value in attributes.items() if value} | (
        {"targets": percent(row["target"])} if "target" in row else {}
    )
