"""What averages over several leaderboards mean, and which methods have none."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from lth_bench.reports.numbers import distinct_percents
from lth_bench.results.averages import Averages, Cell
from lth_bench.results.leaderboard import Place

FEW = 6  # leaderboards, over which a bootstrap is rough
MOST = 10  # methods that a sentence names
MEANING = (
    "Improvability is 1 − the lowest error of a cell / the method's. Elo ratings are of a Bradley–Terry model of which "
    "of two methods has the higher mean: 400 points are odds of ten to one, and 1000 is the mean."
)


def sentences(averages: Averages, names: Mapping[Place, str]) -> Iterator[str]:
    """Over what averages are, what they mean, and what the methods lack that have none."""
    first, *others = counted(averages, names, "Averages")
    yield first
    yield MEANING
    if len(averages.blocks) > 1:
        few = f", rough for only {len(averages.blocks)}" if len(averages.blocks) < FEW else ""
        yield f"In brackets 95% intervals, by a bootstrap over leaderboards and the seeds within{few}."
    yield from others


def counted(averages: Averages, names: Mapping[Place, str], what: str) -> Iterator[str]:
    """Over which cells averages are, which leaderboards do not count, and which methods are not compared, and why."""
    cells, blocks, methods = len(averages.cells), len(averages.blocks), len(averages.rows)
    over = f"{cells} cell{'s' * (cells != 1)} of {blocks} leaderboard{'s' * (blocks != 1)}"
    each = ", and each leaderboard counts the same" if cells > blocks > 1 else ""
    yield f"{what} are over the {over} that all compared methods ({methods}) finished{each}."
    if uncounted := [name for place, name in names.items() if place not in averages.blocks]:
        yield f"Not counted: {'; '.join(uncounted)}."
    told = [f"{method} (lacks {_lacking(cells, names)})" for method, cells in averages.missing.items()]
    if told:
        more = f"; and {len(told) - MOST} more" * (len(told) > MOST)
        yield f"Not compared: {'; '.join(told[:MOST])}{more}."


def _lacking(cells: list[Cell], names: Mapping[Place, str]) -> str:
    targets: dict[Place, list[float]] = {}
    for place, target in cells:
        targets.setdefault(place, []).append(target)
    return ", ".join(f"{' '.join(distinct_percents(found))} of {names[place]}" for place, found in targets.items())
