"""Verdicts: which subnetworks are winning tickets, and what controls say of methods."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from lth_bench.results import statistics
from lth_bench.results.arrays import Floats
from lth_bench.results.controls import named_rivals, question, rivals
from lth_bench.results.frame import BLOCK
from lth_bench.results.leaderboard import TROUBLES, Leaderboards, whole

MARGIN = 0.5  # points below the dense network that do not count


@dataclass(frozen=True)
class _Tests:
    """The three tests of a ticket: as good as dense, as quick, better than its rivals. None: not shown."""

    as_good: bool | None
    as_quick: bool | None
    better: bool | None

    @property
    def verdict(self) -> str:
        answers = (self.as_good, self.as_quick, self.better)
        return "fails" if False in answers else "unknown" if None in answers else "wins"


def verdicts(leaderboards: Leaderboards) -> pd.DataFrame:
    """Whether the subnetworks of each method are winning tickets (Frankle & Carbin 2019, arXiv:1803.03635, section 1).

    A winning ticket is not worse than the dense network by more than `MARGIN` points (paired, one-sided, at 95 %),
    trains in no more steps (to the lowest validation loss if that was before the end, else to the end), and is
    better than its own mask with other initial weights (the same test). `verdict` is "wins" if all three are shown,
    "fails" if the opposite of one is, else "unknown"; it is "unknown" too if a seed diverged, failed or is missing.
    `why` is a sentence.
    """
    rows = leaderboards.rows
    chosen = rows[(rows["control"] == "") & (rows["target"] > 0)]
    lower, upper = _bounds(leaderboards.samples.difference)
    redrawn = _redrawn(leaderboards)
    lines = []
    dense, unharmed = _dense(rows), whole(rows)
    for index, row in zip(chosen.index, chosen.to_dict("records"), strict=True):
        as_good = _shown(lower[index], upper[index], -MARGIN)
        tests = _Tests(as_good, _as_quick(row, dense(row)), redrawn.get(index))
        verdict = tests.verdict if unharmed[index] else "unknown"
        why = _reason(row, tests, (float(lower[index]), float(upper[index])), index in redrawn)
        lines.append([*_block(row), row["method"], row["target"], verdict, why])
    return pd.DataFrame(lines, columns=[*BLOCK, "method", "target", "verdict", "why"])


def badges(leaderboards: Leaderboards) -> pd.DataFrame:
    """What controls say of their methods: the difference between them, its paired 95 % interval, and an answer.

    Differences are in points, by seed, averaged over the targets that both have. `verdict` is "yes" if the method
    is better, "no" if the control is, "unclear" if the interval contains 0.
    """
    columns = [*BLOCK, "method", "control", "question", "difference", "lower", "upper", "n", "targets", "verdict"]
    return pd.DataFrame(list(_badges(leaderboards)), columns=columns)


def _badges(leaderboards: Leaderboards) -> Iterator[list[Any]]:
    for (*_, control), pairs in _pairs(leaderboards).groupby([*BLOCK, "base_method", "control"], sort=False):
        base, other = (leaderboards.samples.accuracy[pairs[side].to_numpy()] for side in ("base_row", "row"))
        interval = statistics.mean_interval((base - other).mean(axis=0)[None])
        mean, lower, upper = (float(bound[0]) for bound in (interval.mean, interval.lower, interval.upper))
        answer = "yes" if lower > 0 else "no" if upper < 0 else "unclear"
        first = pairs.iloc[0]
        asked = question(str(control))
        yield [
            *first[BLOCK], first["base_method"], control, asked, mean, lower, upper, int(interval.n[0]), len(pairs),
            answer,
        ]  # fmt: skip


def _pairs(leaderboards: Leaderboards) -> pd.DataFrame:
    """The rows of controls joined with those of the methods whose tickets they take, trained by the same recipe."""
    rows = leaderboards.rows.reset_index(names="row")
    controls = rows[rows["control"] != ""]
    bases = rows[rows["control"] == ""][["row", *BLOCK, "method", "target", "meaning", "recipe_hash"]]
    named = bases.rename(columns={"row": "base_row", "method": "base_method", "meaning": "base"})
    return controls.merge(named, on=[*BLOCK, "target", "base", "recipe_hash"])


def _redrawn(leaderboards: Leaderboards) -> dict[int, bool | None]:
    """Whether a method is better than its rivals, by row; rows without a rival are left out."""
    pairs = _pairs(leaderboards)
    pairs = pairs[pairs["control"].isin(rivals())]
    accuracy = leaderboards.samples.accuracy
    base, other = pairs["base_row"].to_numpy(dtype=int), pairs["row"].to_numpy(dtype=int)
    lower, upper = _bounds(accuracy[base] - accuracy[other])
    answers: dict[int, bool | None] = {}
    for row, low, high in zip(base, lower, upper, strict=True):
        answers[int(row)] = _both(answers.get(int(row), True), _shown(low, high, 0.0))
    return answers


def _both(one: bool | None, other: bool | None) -> bool | None:
    """Whether both answers are yes: no if one is no, else None if one is None."""
    return False if False in (one, other) else None if None in (one, other) else True


def _bounds(differences: Floats) -> tuple[Floats, Floats]:
    """Lower and upper bounds of mean differences, each one-sided at 95 %."""
    return statistics.one_sided_lower(differences), -statistics.one_sided_lower(-differences)


def _shown(lower: float, upper: float, least: float) -> bool | None:
    return True if lower > least else False if upper < least else None


def _dense(rows: pd.DataFrame) -> Callable[[Any], Any]:
    """A function that finds the dense row for a row: of its own recipe, else of its leaderboard's."""
    names = [*BLOCK, "recipe_hash", "own_recipe", "n", "censored", "early_stop_step", "last_step"]
    runs = rows[(rows["target"] == 0) & (rows["control"] == "")][names].to_dict("records")
    alike = {(*_block(run), run["recipe_hash"]): run for run in reversed(runs)}
    usual = {_block(run): run for run in reversed(runs) if not run["own_recipe"]}
    return lambda row: alike.get((*_block(row), row["recipe_hash"]), usual.get(_block(row)))


def _block(row: Any) -> tuple[str, ...]:
    return tuple(row[name] for name in BLOCK)


def _as_quick(row: Any, dense: Any) -> bool | None:
    if dense is None or not dense["n"]:
        return None
    measured = dense["censored"] < dense["n"] and row["censored"] < row["n"]
    step = "early_stop_step" if measured else "last_step"
    return bool(row[step] <= dense[step])


def _reason(row: Any, tests: _Tests, bounds: tuple[float, float], redrawn: bool) -> str:
    trouble = [f"{row[name]} {name}" for name in TROUBLES if row[name]]
    if not row["n"]:
        return f"no seed finished: {', '.join(trouble)}."
    lower, upper = bounds
    has_bounds = not np.isnan(lower)
    between = (
        f"not told from dense ({lower:+.2f} to {upper:+.2f} points)"
        if has_bounds
        else "too few seeds beside dense ones"
    )
    control = "not told from its mask re-drawn" if redrawn else f"no control {named_rivals()}"
    parts = [
        _word(
            tests.as_good, f"as good as dense (above {lower:+.2f})", f"worse than dense (below {upper:+.2f})", between
        ),
        _word(tests.as_quick, "in no more steps", "in more steps", "no dense run to count steps against"),
        _word(tests.better, "better than its mask re-drawn", "worse than its mask re-drawn", control),
    ]
    return "; ".join([*parts, *trouble]) + "."


def _word(answer: bool | None, yes: str, no: str, unknown: str) -> str:
    return unknown if answer is None else yes if answer else no
