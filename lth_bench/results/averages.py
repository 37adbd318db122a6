"""Methods over several leaderboards: mean rank, improvability and Elo, with intervals.

They are over cells (a sparsity of a leaderboard) that all compared methods finished, and each leaderboard counts the
same. Improvability is how much of a method's error the best method of a cell does without (Erickson et al. 2025,
arXiv:2506.16791). Elo ratings are the strengths of a Bradley-Terry model of which of two methods has the higher mean
(Chiang et al. 2024, arXiv:2403.04132), in a scale on which 400 points are odds of ten to one.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd
import scipy  # type: ignore[import-untyped]  # which imports its parts where they are first used

from lth_bench.results import statistics
from lth_bench.results.arrays import Bools, Counts, Floats
from lth_bench.results.frame import BLOCK
from lth_bench.results.leaderboard import Leaderboards, Place

DRAWS = 200
STEPS, LONGEST, CLOSE = 50, 2.0, 1e-9
ODDS, MEAN = 400 / np.log(10), 1000.0
MEASURES = ("mean_rank", "improvability", "elo")

Cell = tuple[Place, float]


@dataclass(frozen=True)
class Averages:
    """The compared methods, the best first, and what the others lack of the cells over which averages are.

    `rows` has `method`, `mean_rank`, `improvability` in per cent and `elo`, each with `_lower` and `_upper`, which are
    NaN on one leaderboard.
    """

    rows: pd.DataFrame
    cells: list[Cell]
    missing: dict[str, list[Cell]]

    @property
    def blocks(self) -> list[Place]:
        return list(dict.fromkeys(place for place, _ in self.cells))


def averaged(leaderboards: Leaderboards) -> Averages:
    """Averages over the cells that most methods were asked for, of the methods that finished all of them.

    What was finished does not choose the cells, so that no method gains where it failed. Neither do controls compete,
    nor what only finds tickets for others.
    """
    rows = leaderboards.rows
    contest = rows[(rows["control"] == "") & (rows["target"] > 0) & ~rows["helper"]]
    methods, names = pd.factorize(contest["method"])
    numbers = contest.groupby([*BLOCK, "target"], sort=False).ngroup().to_numpy()
    keys = contest[[*BLOCK, "target"]].drop_duplicates().itertuples(index=False)
    cells = [((dataset, model, recipe), float(target)) for dataset, model, recipe, target in keys]
    index = np.full((len(names), len(cells)), -1)
    index[methods, numbers] = contest.index.to_numpy()
    finished = np.zeros(index.shape, dtype=bool)
    finished[methods, numbers] = contest["competes"] & (contest["place"] == contest["target"])
    common = _usual(index >= 0)
    whole = np.asarray(finished[:, common].all(axis=1))
    missing = {
        name: [cells[number] for number in np.flatnonzero(common & ~lacking)]
        for name, lacking in zip(names[~whole], finished[~whole], strict=True)
    }
    shared = [cells[number] for number in np.flatnonzero(common)]
    blocks = pd.factorize(pd.Series([place for place, _ in shared], dtype=object))[0]
    values = leaderboards.samples.accuracy[index[whole][:, common]]
    table = pd.DataFrame({"method": names[whole], **_measured(values, blocks)})
    return Averages(table.sort_values("mean_rank", kind="stable", ignore_index=True), shared, missing)


def _usual(asked: Bools) -> Bools:
    """The cells that most methods were asked for; of several such sets, the largest."""
    if not asked.size:
        return np.zeros(asked.shape[1], dtype=bool)
    sets, counts = np.unique(asked, axis=0, return_counts=True)
    return np.asarray(sets[np.lexsort((sets.sum(axis=1), counts))[-1]])


def _measured(values: Floats, blocks: Counts) -> dict[str, Floats]:
    """All measures with their bounds, of accuracies of shape (methods, cells, seeds), by the block of each cell.

    Blocks are drawn with replacement, and seeds within each drawn block, the same for all methods. As a percentile
    interval of few blocks is too narrow, the interval is Student's with the standard deviation over draws; that of
    Elo ratings is propagated to first order.
    """
    methods, count = len(values), int(blocks.max(initial=-1)) + 1
    if not values.size:
        return {f"{name}{end}": np.full(methods, np.nan) for name in MEASURES for end in ("", "_lower", "_upper")}
    parts = [_block(values[:, blocks == number]) for number in range(count)]
    estimate = np.mean([_scores(np.nanmean(part, axis=0)[None])[0] for part in parts], axis=0)
    generator = np.random.default_rng(0)
    picked, drawn = generator.integers(count, size=(DRAWS, count)), np.zeros((DRAWS, *estimate.shape))
    for number, part in enumerate(parts):
        draws = np.nonzero(picked == number)[0]
        np.add.at(drawn, draws, _scores(_resampled(part, len(draws), generator)))
    changes = drawn / count - estimate
    strengths, slope = _elo(estimate[0], count)
    estimates = np.array([*estimate, strengths])
    deviations = np.std([*np.moveaxis(changes, 1, 0), changes[:, 0] @ slope.T], axis=1)
    quantile = scipy.special.stdtrit(count - 1, 0.975) * np.sqrt(count / (count - 1)) if count > 1 else np.nan
    lowest, highest = np.array([[1, 0, -np.inf], [methods, 100, np.inf]])[:, :, None]
    bounds = {
        "": estimates,
        "_lower": np.maximum(estimates - quantile * deviations, lowest),
        "_upper": np.minimum(estimates + quantile * deviations, highest),
    }
    return {f"{name}{end}": row for end, table in bounds.items() for name, row in zip(MEASURES, table, strict=True)}


def _block(values: Floats) -> Floats:
    """The accuracies of a block in shape (seeds, cells, methods), without seeds that no method has."""
    seeds = np.moveaxis(values, (2, 1, 0), (0, 1, 2))
    return np.asarray(seeds[~np.isnan(seeds).all(axis=(1, 2))])


def _resampled(values: Floats, draws: int, generator: np.random.Generator) -> Floats:
    """Means over seeds drawn with replacement, in shape (draws, cells, methods); the mean of all if none was drawn."""
    seeds, flat = len(values), values.reshape(len(values), -1)
    weights = generator.multinomial(seeds, np.full(seeds, 1 / seeds), size=draws).astype(float)
    counts = weights @ (~np.isnan(flat)).astype(float)
    means = np.where(counts > 0, weights @ np.nan_to_num(flat) / np.maximum(counts, 1), np.nanmean(flat, axis=0))
    return np.asarray(means.reshape(draws, *values.shape[1:]))


def _scores(accuracy: Floats) -> Floats:
    """Mean ranks and improvabilities over cells, in shape (draws, 2, methods), of means (draws, cells, methods)."""
    ranks = statistics.ranks(accuracy.reshape(-1, accuracy.shape[2]).round(9)).reshape(accuracy.shape)
    errors = 100 - accuracy
    best = errors.min(axis=2, keepdims=True)
    above = 100 * np.divide(errors - best, errors, out=np.zeros_like(errors), where=errors > 0)
    return np.stack([ranks.mean(axis=1), above.mean(axis=1)], axis=1)


def _elo(mean_rank: Floats, blocks: int) -> tuple[Floats, Floats]:
    """Elo ratings of methods that all met on all blocks, and their derivatives by mean ranks.

    Then the likelihood depends on the number of wins alone, which mean ranks tell. All methods also tie on 2 / methods
    of a block, without which one that always wins has no finite rating: in total half a win for each parameter, as by
    Firth's correction of bias (1993) at equal strengths.
    """
    methods = len(mean_rank)
    share = blocks / (blocks + 2 / methods)
    wins = share * (methods - mean_rank) + (1 - share) * (methods - 1) / 2
    strengths, others = np.zeros(methods), ~np.eye(methods, dtype=bool)
    for _ in range(STEPS):
        chances = scipy.special.expit(strengths[:, None] - strengths) * others
        information = chances * (1 - chances)
        curvature = np.diag(information.sum(axis=1)) - information + 1 / methods
        step = np.linalg.solve(curvature, wins - chances.sum(axis=1))
        strengths += step * min(1.0, LONGEST / max(np.abs(step).max(), CLOSE))
        if np.abs(step).max() < CLOSE:
            break
    slope = -ODDS * share * np.linalg.inv(curvature)
    return MEAN + ODDS * (strengths - strengths.mean()), slope
