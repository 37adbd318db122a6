"""Leaderboards in another order, and methods over all leaderboards."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pandas as pd

from lth_bench.results.averages import Averages
from lth_bench.results.frame import BLOCK
from lth_bench.results.leaderboard import MET, Leaderboards, Samples

HIGHER = {
    "accuracy", "accuracy_lower", "accuracy_upper", "best_validation_accuracy", "early_stop_accuracy", "top5_accuracy",
    "difference", "difference_lower", "difference_upper", "area", "best", "second", "near_best", "n",
    "theoretical_speedup", "sparsity", "effective_sparsity",
}  # fmt: skip
"""Columns of which more is better."""


def arranged(leaderboards: Leaderboards, by: str) -> Leaderboards:
    """Leaderboards with their methods in another order.

    `by` is a sparsity such as 0.9 or 90% (accuracy there counts), "method", or a column (its mean over targets
    counts). The best come first if a column has a better end, and missing values last; a minus before it reverses
    the order; upper and lower case are the same. Raises LookupError for anything else.
    """
    rows, text = leaderboards.rows, by.removeprefix("-")
    name = text.casefold()
    place = sparsity_of(name)
    if place is not None:
        value = rows["accuracy"].where((rows["place"] - place).abs() < MET)
        if value.isna().all():
            known = ", ".join(f"{known:g}" for known in sorted(rows["place"].unique()))
            raise LookupError(f"no leaderboard has a sparsity of {name}; there are {known}")
    elif name == "method":
        value = rows["method"].str.casefold().rank(method="dense")
    elif name in rows and pd.api.types.is_numeric_dtype(rows[name]):
        value = rows[name].astype(float)
    else:
        known = ", ".join(str(c) for c in rows if pd.api.types.is_numeric_dtype(rows[c]))
        raise LookupError(f"cannot sort by {text!r}; known: a sparsity such as 90%, method, {known}")
    mean = value.groupby([rows[key] for key in [*BLOCK, "method"]]).transform("mean")
    higher = (place is not None or name in HIGHER) != by.startswith("-")
    block = rows.groupby(BLOCK, sort=False).ngroup()
    score = (-mean if higher else mean).where(rows["target"] > 0, -np.inf)  # the dense network stays on top
    keys = pd.DataFrame({"block": block, "mean": score})
    return _reordered(leaderboards, keys.sort_values(["block", "mean"], kind="stable").index)


def foremost(leaderboards: Leaderboards, methods: list[str]) -> Leaderboards:
    """Leaderboards with these methods first, in this order, behind the dense network, and the others as they were."""
    places = {name: place for place, name in enumerate(methods)}
    rows = leaderboards.rows
    block = rows.groupby(BLOCK, sort=False).ngroup()
    keys = pd.DataFrame({"block": block, "place": rows["method"].map(places).fillna(len(places))})
    keys["place"] = keys["place"].where(rows["target"] > 0, -1)
    return _reordered(leaderboards, keys.sort_values(["block", "place"], kind="stable").index)


def _reordered(leaderboards: Leaderboards, index: pd.Index[int]) -> Leaderboards:
    order = index.to_numpy()
    samples = {name: getattr(leaderboards.samples, name)[order] for name in vars(leaderboards.samples)}
    rows = leaderboards.rows.iloc[order].reset_index(drop=True)
    return replace(leaderboards, rows=rows, samples=Samples(**samples))


def sparsity_of(text: str) -> float | None:
    """The sparsity of a text such as "98%" or "0.98"; None if it is none."""
    try:
        return float(text.removesuffix("%")) / (100 if text.endswith("%") else 1)
    except ValueError:
        return None


def overall(leaderboards: Leaderboards, averages: Averages) -> pd.DataFrame:
    """Methods over all leaderboards: their averages, number of times best or near the best, and number of cells.

    `cells` counts the cells in which a method was ranked, `asked` those in which it was asked for. Methods that are not
    compared stand below, without averages.
    """
    rows = leaderboards.rows.assign(block=leaderboards.rows.groupby(BLOCK, sort=False).ngroup())
    methods = rows[(rows["control"] == "") & (rows["target"] > 0) & ~rows["helper"]].groupby("method", sort=False)
    table = pd.DataFrame(
        {
            "best": (methods["best"].sum() + methods["near_best"].sum()),
            "cells": methods["rank"].count(),
            "asked": methods.size(),
            "leaderboards": methods["block"].nunique(),
            "difference": methods["difference"].mean(),
        }
    )
    whole = table.reset_index().merge(averages.rows, on="method", how="left")
    return whole.sort_values(["mean_rank", "cells"], ascending=[True, False], ignore_index=True)
