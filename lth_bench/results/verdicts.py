"""Verdicts: which subnetworks are winning tickets, and what controls say of methods."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from lth_bench.results import statistics
from lth_bench.results.arrays import Bools, Floats
from lth_bench.results.controls import has_own_loss, named_rivals, question, rivals
from lth_bench.results.frame import BLOCK
from lth_bench.results.leaderboard import TROUBLES, Leaderboards, dense_rows, whole

MARGIN = 0.5  # points below the dense network that do not count
EARLY = 0.25  # share of training within which the weights of a ticket are early


@dataclass(frozen=True)
class Shown:
    """One part of a verdict: yes, no, or None for not told; and the words for it, with the interval of its test."""

    answer: bool | None
    words: str


def verdicts(leaderboards: Leaderboards) -> pd.DataFrame:
    """Whether tickets win (Frankle & Carbin 2019, arXiv:1803.03635, section 1); a row for each that is a ticket.

    Tickets are masks over initial weights, or over those of the first quarter of training, that are trained to the end
    with nothing after it.
    Three parts are tested, each paired by seed and one-sided at 95 %: the ticket is not worse than the dense network by
    more than `MARGIN` points; it reaches its lowest validation loss in no more steps; it is better than its own mask
    with other initial weights. `verdict` is "wins" if all are shown, "fails" if the opposite of one is, else "unknown";
    it is "unknown" too if a seed diverged, failed or is missing. `why` is a sentence.
    """
    rows = leaderboards.rows
    plain = (rows["control"] == "") & (rows["target"] > 0) & ~rows["helper"] & ~rows["has_sequel"]
    chosen = rows[plain & _are_tickets(leaderboards)]
    accuracy, steps, redrawn = _accuracy(leaderboards), _steps(leaderboards), _redrawn(leaderboards)
    unharmed = whole(rows)
    lines = []
    for index, row in zip(chosen.index, chosen.to_dict("records"), strict=True):
        parts = [part(int(index)) for part in (accuracy, steps, redrawn)]
        answers = {part.answer for part in parts}
        verdict = "fails" if False in answers else "unknown" if None in answers else "wins"
        trouble = [f"{row[name]} {name}" for name in TROUBLES if row[name]]
        words = [part.words for part in parts] if row["n"] else ["no seed finished"]
        why = "; ".join([*words, *trouble]) + "."
        place = [*(row[name] for name in BLOCK), row["method"], row["target"]]
        lines.append([*place, verdict if unharmed[index] else "unknown", why])
    return pd.DataFrame(lines, columns=[*BLOCK, "method", "target", "verdict", "why"])


def badges(leaderboards: Leaderboards) -> pd.DataFrame:
    """What controls say of their methods: the difference between them, its paired 95 % interval, and an answer.

    Differences are in points, by seed, averaged over the targets that both have. `verdict` is "yes" if the method
    is better, "no" if the control is, "unclear" if the interval contains 0, and "not comparable", without a difference,
    if the control trained a ticket that its method did not train, or without the method's own loss.
    """
    columns = [*BLOCK, "method", "control", "question", "difference", "lower", "upper", "n", "targets", "verdict"]
    return pd.DataFrame(list(_badges(leaderboards)), columns=columns)


def _badges(leaderboards: Leaderboards) -> Iterator[list[Any]]:
    for (*_, control), pairs in _pairs(leaderboards).groupby([*BLOCK, "base_method", "control"], sort=False):
        base, other = (leaderboards.samples.accuracy[pairs[side].to_numpy()] for side in ("base_row", "row"))
        differences = np.where(pairs["comparable"].to_numpy()[:, None], base - other, np.nan)
        interval = statistics.mean_interval(differences.mean(axis=0)[None])
        mean, lower, upper = (float(bound[0]) for bound in (interval.mean, interval.lower, interval.upper))
        answer = "yes" if lower > 0 else "no" if upper < 0 else "unclear"
        first = pairs.iloc[0]
        yield [
            *first[BLOCK], first["base_method"], control, question(str(control)), mean, lower, upper,
            int(interval.n[0]), len(pairs), answer if pairs["comparable"].all() else "not comparable",
        ]  # fmt: skip


def _pairs(leaderboards: Leaderboards) -> pd.DataFrame:
    """The rows of controls joined with those of the methods whose tickets they take, trained by the same recipe."""
    rows = leaderboards.rows.assign(trains=_train_tickets(leaderboards)).reset_index(names="row")
    controls = rows[rows["control"] != ""]
    bases = rows[rows["control"] == ""][["row", *BLOCK, "method", "target", "meaning", "recipe_hash", "trains"]]
    named = bases.rename(
        columns={"row": "base_row", "method": "base_method", "meaning": "base", "trains": "base_trains"}
    )
    pairs = controls.merge(named, on=[*BLOCK, "target", "base", "recipe_hash"])
    comparable = (pairs["base_trains"] | ~pairs["trains"]) & ~pairs["pruner"].map(has_own_loss).astype(bool)
    return pairs.assign(comparable=comparable)


def _are_tickets(leaderboards: Leaderboards) -> Bools:
    """Which rows are tickets in all seeds that finished; those of which none finished are taken for tickets."""
    samples = leaderboards.samples
    missing = np.isnan(samples.last_step)
    early = samples.ticket_step <= EARLY * samples.last_step
    return np.asarray(((early & (samples.ticket_step < samples.last_step)) | missing).all(axis=1))


def _train_tickets(leaderboards: Leaderboards) -> Bools:
    """Whether training followed the final mask, in all seeds that finished."""
    samples = leaderboards.samples
    return np.asarray(((samples.ticket_step < samples.last_step) | np.isnan(samples.last_step)).all(axis=1))


def _accuracy(leaderboards: Leaderboards) -> Callable[[int], Shown]:
    """Whether a row is as good as the dense network."""
    lower, upper = _bounds(leaderboards.samples.difference)

    def shown(row: int) -> Shown:
        answer = _above(lower[row], upper[row], -MARGIN)
        words = {True: "as good as dense", False: "worse than dense", None: "not told from dense"}[answer]
        return Shown(answer, _with_interval(words, lower[row], upper[row], "points", "no seed shared with dense"))

    return shown


def _steps(leaderboards: Leaderboards) -> Callable[[int], Shown]:
    """Whether a row reaches its lowest validation loss in no more steps than the dense network.

    A step that is censored counts as the end of training, at which it understates the difference; seeds in which both
    are censored, or nothing was measured before the end, tell nothing.
    """
    rows, samples = leaderboards.rows, leaderboards.samples
    dense = _dense(rows)

    def shown(row: int) -> Shown:
        if (other := dense(rows.loc[row])) is None:
            return Shown(None, "no dense run to count steps against")
        open_ended = (samples.censored[row] > 0) & (samples.censored[other] > 0)
        more = np.where(open_ended, np.nan, samples.early_stop_step[row] - samples.early_stop_step[other])
        lower, upper = (float(bound[0]) for bound in _bounds(more[None]))
        answer = None if np.isnan(upper) else True if upper <= 0 else False if lower > 0 else None
        words = {True: "in no more steps", False: "in more steps", None: "steps not told apart"}[answer]
        return Shown(answer, _with_interval(words, lower, upper, "steps", "steps to the lowest loss not measured"))

    return shown


def _redrawn(leaderboards: Leaderboards) -> Callable[[int], Shown]:
    """Whether a row is better than all its rivals."""
    pairs = _pairs(leaderboards)
    pairs = pairs[pairs["control"].isin(rivals()) & pairs["comparable"]]
    accuracy = leaderboards.samples.accuracy
    rivals_of: dict[int, list[int]] = {}
    for base, other in zip(pairs["base_row"], pairs["row"], strict=True):
        rivals_of.setdefault(int(base), []).append(int(other))

    def shown(row: int) -> Shown:
        if row not in rivals_of:
            return Shown(None, f"no control {named_rivals()}")
        lower, upper = _bounds(accuracy[row] - accuracy[rivals_of[row]])
        closest = int(np.argmin(np.nan_to_num(lower, nan=-np.inf)))
        answer = _above(lower[closest], upper[closest], 0.0)
        words = {True: "better than", False: "worse than", None: "not told from"}[answer] + " its mask re-drawn"
        return Shown(answer, _with_interval(words, lower[closest], upper[closest], "points", "no seed shared with it"))

    return shown


def _bounds(differences: Floats) -> tuple[Floats, Floats]:
    """Lower and upper bounds of mean differences, each one-sided at 95 %."""
    return statistics.one_sided_lower(differences), -statistics.one_sided_lower(-differences)


def _above(lower: float, upper: float, least: float) -> bool | None:
    return True if lower > least else False if upper < least else None


def _with_interval(words: str, lower: float, upper: float, unit: str, without: str) -> str:
    """Words with the interval that they rest on, or with what is missing for one."""
    if np.isnan(lower):
        return f"{words} ({without})"
    digits = "+,.0f" if unit == "steps" else "+.2f"
    return f"{words} ({lower + 0.0:{digits}} to {upper + 0.0:{digits}} {unit})"


def _dense(rows: pd.DataFrame) -> Callable[[Any], int | None]:
    """A function that finds the dense row for a row: of its own recipe, else of its leaderboard's."""
    runs = dense_rows(rows[rows["n"] > 0]).iloc[::-1]  # the first one counts
    places = list(zip(*(runs[name] for name in BLOCK), strict=True))
    alike = dict(zip(zip(places, runs["recipe_hash"], strict=True), runs.index, strict=True))
    usual = {place: index for place, index, own in zip(places, runs.index, runs["own_recipe"], strict=True) if not own}

    def found(row: Any) -> int | None:
        place = tuple(row[name] for name in BLOCK)
        return alike.get((place, row["recipe_hash"]), usual.get(place))

    return found
