"""Leaderboards: every method at every sparsity, aggregated over seeds, and how methods compare."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from lth_bench.results import statistics
from lth_bench.results.arrays import Bools, Floats
from lth_bench.results.contest import told_from_best
from lth_bench.results.costs import Costs
from lth_bench.results.frame import BLOCK, METHOD
from lth_bench.storage.record import STATUSES

Place = tuple[str, str, str]  # data set, model and recipe

MET = 5e-4  # a target is met by a measured sparsity nearer than this
OUTCOMES = (*STATUSES, "missing")
TROUBLES = OUTCOMES[1:]
MEANS = {
    "sparsity": "sparsity",
    "effective_sparsity": "effective_sparsity",
    "collapsed_layers": "collapsed_layers",
    "accuracy": "last_accuracy",
    "best_validation_accuracy": "best_validation_accuracy",
    "early_stop_accuracy": "early_stop_accuracy",
    "early_stop_step": "early_stop_step",
    "loss": "loss",
    "calibration_error": "calibration_error",
    "top5_accuracy": "top5_accuracy",
    "last_step": "last_step",
    "steps": "steps",
    **{name: name for name in (*Costs._fields, "latency", "seconds", "peak_memory", "kept_zeros")},
}
"""Columns that are means over seeds, and of what."""
WORDS = ("environment", "data", "unfit", "off_target", "method_code", "network_code")
"""Columns that hold all distinct texts behind a row."""
FIRSTS = (
    *("trained_with", "recipe_hash", "own_recipe", "helper", "pruner", "control", "family", "meaning", "base"),
    *("has_sequel", "pattern"),
    *("dataset_choice", "model_choice", "pruner_choice", "control_choice"),
)


@dataclass(frozen=True)
class Samples:
    """Values behind the rows of leaderboards, NaN where missing: a row for a method and target, a column for a seed.

    They are test accuracies, their differences to the dense network of the same seed, early-stop steps and whether
    they are censored, the steps of the ticket and of the end.
    """

    accuracy: Floats
    difference: Floats
    early_stop_step: Floats
    censored: Floats
    ticket_step: Floats
    last_step: Floats


@dataclass(frozen=True)
class Leaderboards:
    """All leaderboards of a run: `rows` has a row for every method and target, `samples` the values behind each.

    Differences to the best mean of `negligible` points do not count.
    """

    rows: pd.DataFrame
    samples: Samples
    negligible: float = 0.0

    def blocks(self) -> Iterator[tuple[Place, pd.DataFrame]]:
        """The rows of each leaderboard: one for every data set, model and recipe."""
        for place, rows in self.rows.groupby(BLOCK, sort=False):
            dataset, model, recipe = map(str, place)
            yield (dataset, model, recipe), rows

    def names(self) -> dict[Place, str]:
        """The titles of leaderboards, with the recipe where model and data set have several."""
        places = [place for place, _ in self.blocks()]
        alike = Counter(place[:2] for place in places)
        return {
            (dataset, model, recipe): f"{model} on {dataset}" + f", recipe {recipe}" * (alike[dataset, model] > 1)
            for dataset, model, recipe in places
        }

    def relative_costs(self) -> dict[str, Floats]:
        """Training FLOPs of each row in multiples of the dense network's in its leaderboard, NaN where that took none.

        `training_ratio` counts the weights that masks keep, `training_dense_ratio` dense matrices; `training_alone` are
        the FLOPs themselves, of rows whose dense network took none.
        """
        dense = dense_rows(self.rows).drop_duplicates(BLOCK)
        once = self.rows[BLOCK].merge(dense[[*BLOCK, "training_flops"]], on=BLOCK, how="left")["training_flops"]
        alone = self.rows["training_flops"].where(once.eq(0).to_numpy())
        once = once.where(once > 0)
        return {
            "training_ratio": self.rows["training_flops"].to_numpy() / once.to_numpy(),
            "training_dense_ratio": self.rows["training_flops_dense"].to_numpy() / once.to_numpy(),
            "training_alone": alone.to_numpy(),
        }


def dense_rows(rows: pd.DataFrame) -> pd.DataFrame:
    """The rows of leaderboards that others are compared with: at sparsity 0, trained no further."""
    return rows[(rows["target"] == 0) & (rows["control"] == "") & ~rows["has_sequel"]]


def summarise(frame: pd.DataFrame, negligible: float = 0.0) -> Leaderboards:
    """Aggregates results over seeds, a row for every method and target.

    Aggregates are over the `n` seeds that finished; `diverged`, `failed` and `missing` count the others.
    `accuracy_lower` and `_upper` bound Student's 95 % interval. `difference` is to the dense network of the same
    seed, with its interval, `p` of the paired t test, `p_holm` adjusted over the methods at this sparsity, the
    exact `sign_flip_p`, and `sign_flip_least`, the smallest value that this can take with so many seeds. `rank`
    orders the methods at a sparsity, `best` marks the highest mean and `second` the next, and `near_best` those that
    are not told from the best, or only by a `negligible` number of points; controls, and methods of which a seed
    diverged, failed or is missing, have none of them. `area` is the mean
    accuracy over -log10(1 - sparsity), of methods that finished the targets that most of their leaderboard have.
    """
    rows, samples = _aggregated(frame)
    interval, versus = (statistics.mean_interval(values) for values in (samples.accuracy, samples.difference))
    flip, least = statistics.sign_flip(samples.difference)
    rows = rows.assign(
        accuracy_lower=interval.lower,
        accuracy_upper=interval.upper,
        accuracy_sd=_deviation(samples.accuracy),
        early_stop_step_sd=_deviation(samples.early_stop_step),
        difference=versus.mean,
        difference_lower=versus.lower,
        difference_upper=versus.upper,
        difference_n=versus.n,
        difference_sd=_deviation(samples.difference),
        p=statistics.t_test(samples.difference),
        sign_flip_p=flip,
        sign_flip_least=least,
    )
    rows = rows.assign(place=_places(rows))
    rows = rows.assign(competes=_competes(rows))
    return Leaderboards(_compared(rows, samples.accuracy, negligible), samples, negligible)


def _aggregated(frame: pd.DataFrame) -> tuple[pd.DataFrame, Samples]:
    """Counts, means and common fields of every method and target, and the values by seed."""
    number = frame.groupby(METHOD, sort=False).ngroup().to_numpy()
    methods = frame.groupby([*BLOCK, "method"], sort=False).ngroup().to_numpy()
    firsts = np.unique(number, return_index=True)[1]
    order = np.argsort(methods[firsts], kind="stable")
    place = np.argsort(order)[number]
    rows = frame.iloc[firsts[order]][[*METHOD, *FIRSTS]].rename(columns={"asked": "target"}).reset_index(drop=True)
    counted = {name: np.bincount(place[frame["status"] == name], minlength=len(rows)) for name in OUTCOMES}
    done = (frame["status"] == "done").to_numpy()
    kept, at = frame[done], place[done]
    grouped = kept[list(set(MEANS.values()))].groupby(at).mean().reindex(range(len(rows)))
    means = {name: grouped[column].to_numpy() for name, column in MEANS.items()}
    words = {name: _words(frame[name], place, len(rows)) for name in WORDS}
    censored = np.bincount(at[kept["censored"].to_numpy(dtype=bool)], minlength=len(rows))
    rows = rows.assign(**counted, **means, censored=censored, **words).rename(columns={"done": "n"})
    seeds = pd.factorize(kept["seed"])[0]
    shape = (len(rows), int(seeds.max(initial=0)) + 1)
    return rows, Samples(*(_spread(kept[name], at, seeds, shape) for name in _SAMPLED))


_SAMPLED = ("last_accuracy", "difference", "early_stop_step", "censored", "ticket_step", "last_step")


def _spread(values: pd.Series[float], rows: Any, seeds: Any, shape: tuple[int, int]) -> Floats:
    matrix = np.full(shape, np.nan)
    matrix[rows, seeds] = values.to_numpy(dtype=float)
    return matrix


def _words(texts: pd.Series[str], rows: Any, count: int) -> list[str]:
    """The distinct texts behind each row, joined by semicolons."""
    codes, distinct = pd.factorize(texts)
    words: list[set[str]] = [set() for _ in range(count)]
    for pair in np.unique(rows * len(distinct) + codes):
        row, code = divmod(int(pair), len(distinct))
        words[row].add(distinct[code])
    return ["; ".join(sorted(several - {""})) for several in words]


def _deviation(samples: Floats) -> Floats:
    interval = statistics.mean_interval(samples)
    several = np.maximum(interval.n - 1, 1)
    squares = np.nansum((samples - interval.mean[:, None]) ** 2, axis=1)
    return np.where(interval.n > 1, np.sqrt(squares / several), np.nan)


def _places(rows: pd.DataFrame) -> Floats:
    """The sparsity at which a row stands: its target if that was met or exceeded, else the measured one."""
    met = rows["sparsity"].isna() | (rows["sparsity"] > rows["target"] - MET)
    return rows["target"].where(met, rows["sparsity"].round(4)).to_numpy(dtype=float)


def whole(rows: pd.DataFrame) -> pd.Series[bool]:
    """Which rows lost no seed: none diverged, failed or is missing."""
    return (rows["n"] > 0) & (rows[list(TROUBLES)].sum(axis=1) == 0)


def _competes(rows: pd.DataFrame) -> pd.Series[bool]:
    """Which rows compete: methods that pruned something and of which no seed is lost.

    Neither do controls, nor what only finds tickets for others.
    """
    return whole(rows) & (rows["control"] == "") & (rows["place"] > 0) & ~rows["helper"]


def _compared(rows: pd.DataFrame, accuracy: Floats, negligible: float) -> pd.DataFrame:
    """The rows with ranks, the best and second-best, those near the best, adjusted p-values, and areas."""
    numbers = {name: np.full(len(rows), np.nan) for name in ("rank", "p_holm", "area")}
    marks = {name: np.zeros(len(rows), dtype=bool) for name in ("best", "second", "near_best")}
    contest = rows.loc[rows["competes"], [*BLOCK, "place", "accuracy", "p"]]
    for _, group in contest.groupby([*BLOCK, "place"], sort=False):
        index = group.index.to_numpy()
        ranks = statistics.ranks(group["accuracy"].to_numpy().round(9))
        numbers["rank"][index], numbers["p_holm"][index] = ranks, statistics.holm(group["p"].to_numpy())
        for name, values in _marks(accuracy[index], ranks, negligible).items():
            marks[name][index] = values
    pruned = rows.loc[(rows["control"] == "") & (rows["target"] > 0) & ~rows["helper"], [*BLOCK, "method", *_ON_CURVES]]
    for _, group in pruned.groupby(BLOCK, sort=False):
        for index, value in _areas(group):
            numbers["area"][index] = value
    return rows.assign(**numbers, **marks)


def _marks(accuracy: Floats, ranks: Floats, negligible: float) -> dict[str, Bools]:
    """Which methods are best, second and near the best; none if there are fewer than two, or without several seeds."""
    seeds = (~np.isnan(accuracy)).sum(axis=1)
    best = ranks == ranks.min()
    second = (ranks == ranks[~best].min(initial=np.inf)) & (best.sum() == 1)
    near = ~best & ~told_from_best(accuracy, negligible) & (seeds > 1)
    contested = len(accuracy) > 1 and bool((seeds[best] > 1).all())
    return {name: mark & contested for name, mark in (("best", best), ("second", second), ("near_best", near))}


def _areas(group: pd.DataFrame) -> Iterator[tuple[Any, float]]:
    """The areas of the methods that have all usual targets, each with the index of its rows."""
    target, sparsity, accuracy, competes = (group[name].to_numpy() for name in _ON_CURVES)
    heights = np.where(competes, accuracy, np.nan)
    methods = [np.asarray(rows) for rows in group.groupby("method", sort=False).indices.values()]
    asked = [tuple(sorted(target[rows])) for rows in methods]
    usual = max(dict.fromkeys(asked), key=asked.count)
    for rows in methods:
        usual_rows = rows[np.isin(target[rows], usual)]
        if len(usual_rows) == len(usual):
            yield group.index[rows], statistics.area(sparsity[usual_rows], heights[usual_rows])


_ON_CURVES = ["target", "sparsity", "accuracy", "competes"]
