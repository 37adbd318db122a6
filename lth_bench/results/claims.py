"""Whether claims hold: paired differences with their intervals, and what they show."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import pandas as pd
import scipy  # type: ignore[import-untyped]

from lth_bench.experiments.claims import METRICS, ClaimEntry, Published, Side
from lth_bench.results.analyses import Analysis
from lth_bench.results.arrays import Floats
from lth_bench.results.leaderboard import MEANS, MET
from lth_bench.results.statistics import mean_interval

Verdict = Literal["shown", "contradicted", "not told"]
COLUMNS = {name: MEANS.get(name, name) for name in METRICS}
"""The columns of results that metrics are in."""


@dataclass(frozen=True)
class Judged:
    """A claim on one data set and model, with what was measured.

    `left` and `right` are means over the `n` seeds that both sides have, or the published number. The difference is
    left minus right, and of a relative amount its share of the right side's mean; its interval is of the claim's
    level. `why` says what is missing for a verdict.
    """

    claim: ClaimEntry
    place: str
    verdict: Verdict = "not told"
    why: str = ""
    left: float = float("nan")
    right: float = float("nan")
    difference: float = float("nan")
    lower: float = float("nan")
    upper: float = float("nan")
    n: int = 0


def judged(claims: Sequence[ClaimEntry], frame: pd.DataFrame, analyses: Sequence[Analysis]) -> Iterator[Judged]:
    """Every claim, once for each data set and model that it is about; a claim without any has no place."""
    done = frame[frame["status"] == "done"]
    for claim in claims:
        asked = {name: _rows(frame, subject) for name, subject in claim.subjects.items()}
        places = [list(dict.fromkeys(zip(rows["dataset"], rows["model"], strict=True))) for rows in asked.values()]
        common = [place for place in places[0] if all(place in others for others in places[1:])]
        alike = len({(subject.dataset, subject.model) for subject in claim.subjects.values()}) == 1
        if not alike and all(len(found) == 1 for found in places):
            yield _judged(claim, " and ".join(f"{model} on {data}" for data, model in _flat(places)), done, analyses)
        elif not common:
            yield Judged(claim, "", why="no results of such rows")
        else:
            for dataset, model in common:
                here = done[(done["dataset"] == dataset) & (done["model"] == model)]
                yield _judged(claim, f"{model} on {dataset}", here, analyses)


def _flat(places: Sequence[Sequence[tuple[str, str]]]) -> list[tuple[str, str]]:
    return [place for found in places for place in found]


def _rows(frame: pd.DataFrame, subject: Side) -> pd.DataFrame:
    """The rows of results that a side of a claim names."""
    rows = frame[frame["method"] == subject.method]
    if subject.control:
        rows = frame[(frame["control"] == subject.control) & frame["base"].isin(rows["meaning"])]
    if subject.sparsity is not None:
        rows = rows[(rows["asked"] - subject.sparsity).abs() < MET]
    for place, kind in enumerate(("dataset", "model")):
        if (name := getattr(subject, kind)) is not None:
            rows = rows[(rows[kind] == name) | (rows["names"].map(lambda names, place=place: names[place]) == name)]
    return rows


def _judged(claim: ClaimEntry, place: str, done: pd.DataFrame, analyses: Sequence[Analysis]) -> Judged:
    found, missing = {}, []
    for name, subject in claim.subjects.items():
        values = _values(_rows(done, subject), subject, analyses)
        found[name] = values
        if values.empty:
            missing.append(_missing(subject, analyses))
    if missing:
        return Judged(claim, place, why="; ".join(dict.fromkeys(missing)))
    left, right = found["left"], found.get("right")
    if isinstance(claim.right, Published):
        right = pd.Series(claim.right.value, index=left.index)
    assert right is not None
    both = pd.concat({"left": left, "right": right}, axis="columns").dropna()
    if both.empty:
        return Judged(claim, place, why="the sides have no seed in common")
    pairs = both["left"].to_numpy(dtype=float), both["right"].to_numpy(dtype=float)
    bounds = _difference(claim, *pairs, 0.0)
    scale = 1 / abs(pairs[1].mean()) if claim.is_relative and pairs[1].mean() else 1.0
    why = "one seed has no interval" if len(both) < 2 else ""
    left_mean, right_mean = (float(side.mean()) for side in pairs)
    difference, lower, upper = (scale * bound for bound in bounds)
    return Judged(
        claim, place, _verdict(claim, *pairs), why, left_mean, right_mean, difference, lower, upper, len(both)
    )


def _values(rows: pd.DataFrame, subject: Side, analyses: Sequence[Analysis]) -> pd.Series[float]:
    """The number of a side by seed; of several rows of an analysis, their mean."""
    if subject.analysis is None:
        column = COLUMNS[str(subject.metric)]
        return rows.groupby("seed")[column].mean().dropna()
    found = [one.rows for one in analyses if _is_meant(one, subject)]
    table = pd.concat(found) if found else pd.DataFrame(columns=["key", "seed"])
    if subject.metric not in table:
        return pd.Series(dtype=float)
    chosen = table[table["key"].isin(rows["key"])]
    for column, value in (subject.where or {}).items():
        chosen = chosen[chosen[column] == value] if column in chosen else chosen.head(0)
    return pd.to_numeric(chosen[subject.metric], errors="coerce").groupby(chosen["seed"]).mean().dropna()


def _is_meant(one: Analysis, subject: Side) -> bool:
    assert subject.analysis is not None
    return one.choice.name == subject.analysis.name and one.choice.arguments == subject.analysis.arguments


def _missing(subject: Side, analyses: Sequence[Analysis]) -> str:
    """Why a side has no numbers."""
    at = f" at {subject.sparsity:g}" if subject.sparsity is not None else ""
    row = subject.method + (f", {subject.control}" if subject.control else "") + at
    if subject.analysis is None:
        return f"no {subject.metric} of {row}"
    if not any(_is_meant(one, subject) for one in analyses):
        return f"the analysis {subject.analysis.name} was not run, or with other parameters"
    return f"no {subject.metric} of {row} in the analysis {subject.analysis.name}"


def _difference(
    claim: ClaimEntry, left: Floats, right: Floats, share: float, amount: float = 0.0
) -> tuple[float, float, float]:
    """The mean of left - (1 + share) * right - amount over seeds, and its bounds."""
    interval = mean_interval((left - (1 + share) * right - amount)[None], claim.level)
    mean, lower, upper = (float(bound[0]) for bound in (interval.mean, interval.lower, interval.upper))
    if not isinstance(claim.right, Published) or not claim.right.spread:
        return mean, lower, upper
    off = abs(1 + share) * claim.right.spread
    if claim.right.seeds is None:
        return mean, lower - off, upper + off
    reach = _welch(left, off, claim.right.seeds, claim.level)
    return mean, mean - reach, mean + reach


def _welch(left: Floats, spread: float, seeds: int, level: float) -> float:
    """Half of Welch's interval of the difference between a mean of ours and one of so many seeds elsewhere."""
    n = len(left)
    if n < 2:
        return float("nan")
    ours, theirs = float(left.var(ddof=1)) / n, spread**2 / seeds
    freedom = (ours + theirs) ** 2 / (ours**2 / (n - 1) + theirs**2 / (seeds - 1))
    return float(scipy.special.stdtrit(freedom, (1 + level) / 2)) * math.sqrt(ours + theirs)


def _verdict(claim: ClaimEntry, left: Floats, right: Floats) -> Verdict:
    """What the interval of the difference to what is claimed shows."""
    share, amount = (claim.amount, 0.0) if claim.is_relative else (0.0, claim.amount)
    _, lower, upper = _difference(claim, left, right, share, amount)
    if claim.relation == "≈":
        _, low, high = _difference(claim, left, right, -share, -amount)
        shown, contradicted = low >= 0 >= upper, high < 0 or lower > 0
    else:
        shown, contradicted = {
            ">": (lower > 0, upper < 0),
            "<": (upper < 0, lower > 0),
            "at least by": (lower >= 0, upper < 0),
            "at most by": (upper <= 0, lower > 0),
        }[claim.relation]
    return "shown" if shown else "contradicted" if contradicted else "not told"


MEASURED = ("place", "left", "right", "difference", "lower", "upper", "n", "verdict", "why")
COLUMNS_OF_CLAIMS = ("claim", "source", "metric", "relation", "by", "level", *MEASURED)


def claims_frame(found: Sequence[Judged]) -> pd.DataFrame:
    """The verdicts as a table, a row for each."""
    return pd.DataFrame([_record(one) for one in found], columns=[*COLUMNS_OF_CLAIMS])


def _record(one: Judged) -> Mapping[str, object]:
    claim = one.claim
    return {
        "claim": claim.text,
        "source": claim.source,
        "metric": claim.subjects["left"].metric,
        "relation": claim.relation,
        "by": "" if claim.by is None else str(claim.by),
        "level": claim.level,
        **{name: getattr(one, name) for name in MEASURED},
    }
