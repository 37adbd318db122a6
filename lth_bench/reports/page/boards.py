"""The leaderboards of a page with their listings and figures."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import pandas as pd
from markupsafe import Markup, escape

from lth_bench.reports.averages import sentences
from lth_bench.reports.leaderboards import (
    below_targets,
    code_doubts,
    distinct,
    finished,
    is_below,
    kept_zeros,
    lost,
    mark,
    measured,
    near,
    outside,
    verdict_sentence,
    with_missed_targets,
)
from lth_bench.reports.methods import described
from lth_bench.reports.numbers import distinct_percents, half, hundredths, percent, signed_or_zero
from lth_bench.reports.page import listings
from lth_bench.reports.page.content import PageContent
from lth_bench.reports.page.listings import listed
from lth_bench.reports.page.svg import cleaned
from lth_bench.reports.table import NOTHING, Cell, Column, Row, Table, grid
from lth_bench.results.averages import averaged
from lth_bench.results.frame import BLOCK, rows_of
from lth_bench.results.leaderboard import MET, Place
from lth_bench.results.ordering import overall

WINS = "ticket wins"
CHANGED = {"control": "changed", "lower": "difference_lower", "upper": "difference_upper"}
TO_DENSE = ["difference", "difference_lower", "difference_upper", "p", "sign_flip_p", "sign_flip_least"]


@dataclass(frozen=True)
class BoardSection:
    """A leaderboard, all its numbers, the columns without any, reasons for doubt, and its figures."""

    place: Place
    board: Table
    details: Table
    unknown: list[str]
    notices: list[str]
    figures: list[tuple[str, Markup]]


def boards(content: PageContent) -> dict[str, Any]:
    """The leaderboards, and the listings over all of them, for the template."""
    names = content.leaderboards.names()
    rows = _numbered(content, names)
    keys, targets = [*BLOCK, "method", "target"], sorted(set(rows["target"]))
    where = rows[[*keys, "board", "block", "number", "place", "own_recipe"]]
    methods = where.drop_duplicates([*BLOCK, "method"]).drop(columns=["target", "place"])
    badges = content.badges.rename(columns=CHANGED).merge(methods, on=[*BLOCK, "method"])
    averages = averaged(content.leaderboards)
    standing = rows_of(overall(content.leaderboards, averages))
    drawn: dict[Place, list[tuple[str, Markup]]] = defaultdict(list)
    for number, (caption, _, place, svg) in enumerate(content.figures):
        drawn[place].append((caption, cleaned(svg, caption, f"f{number}-")))
    return {
        "blocks": [_block(place, rows[rows["board"] == names[place]], drawn[place]) for place in names],
        "others": [figure for place, figures in drawn.items() if place not in names for figure in figures],
        "targets": list(zip(map(percent, targets), distinct_percents(targets), strict=True)),
        "standing": listed("Methods over all leaderboards", listings.STANDING, standing) if standing else None,
        "averages": list(sentences(averages, names)),
        "methods_listed": listed("Methods", listings.METHODS, described(content.results, content.leaderboards)),
        "verdicts": listed("Winning tickets", listings.VERDICTS, rows_of(content.verdicts.merge(where, on=keys))),
        "badges": listed("Sanity checks", listings.BADGES, rows_of(badges)),
        "tickets": [(name, int((content.verdicts["verdict"] == name).sum())) for name in ("wins", "fails", "unknown")],
        "wins": WINS,
        "nothing": NOTHING,
        "meaning": escape(verdict_sentence()),  # whole, however long
        "columns": listings.DETAILS,
        "choices": {kind: sorted(set(rows[kind])) for kind in ("dataset", "model")},
        "seed_count": int(rows["n"].max()),
        "least": f"{rows['sign_flip_least'].min():.2g}",
    }


def placed(rows: pd.DataFrame, names: Mapping[Place, str]) -> pd.DataFrame:
    """Rows with the names and numbers of their leaderboards."""
    titles = [names[(dataset, model, recipe)] for dataset, model, recipe in rows[BLOCK].itertuples(index=False)]
    numbers = {name: number for number, name in enumerate(names.values())}
    return rows.assign(board=titles, block=[numbers[title] for title in titles])


def _numbered(content: PageContent, names: Mapping[Place, str]) -> pd.DataFrame:
    """All rows with verdict, lost seeds and relative costs, and with the numbers of leaderboard and method."""
    verdicts = content.verdicts[[*BLOCK, "method", "target", "verdict"]]
    rows = content.leaderboards.rows.merge(verdicts, on=[*BLOCK, "method", "target"], how="left")
    rows = placed(rows.fillna({"verdict": ""}), names)
    rows = rows.assign(lost=[lost(row) for row in rows_of(rows)])
    rows[TO_DENSE] = rows[TO_DENSE].where(rows["target"] > 0)  # the others are compared with what is not pruned
    return rows.assign(number=pd.factorize(rows["method"])[0], **content.leaderboards.relative_costs())


def _block(place: Place, rows: pd.DataFrame, figures: list[tuple[str, Markup]]) -> BoardSection:
    records = rows_of(rows)
    name = records[0]["board"]
    details = listed(f"{name}: every number", listings.DETAILS, records)
    return BoardSection(
        place=place,
        board=_board(name, records),
        details=details,
        unknown=[f"{c.group} {c.head}" for c in listings.DETAILS if c not in details.columns and rows["n"].any()],
        notices=list(_notices(rows)),
        figures=figures,
    )


def _board(title: str, records: list[dict[str, Any]]) -> Table:
    """Methods by sparsities; columns and rows carry their targets for the script."""
    records = with_missed_targets(records)
    places, methods = grid(records, lambda row: Cell(row["method"]), _cell)
    heads = zip(places, distinct_percents(places), strict=True)
    columns = [Column("method"), *(_column(place, head, records) for place, head in heads)]
    return Table(title, columns, [[_row(name, cells, records) for name, cells in methods.items()]])


def _column(place: float, head: str, records: list[dict[str, Any]]) -> Column:
    targets = _targets(row for row in records if row["place"] == place)
    return Column(head, form=hundredths, data={"targets": targets})


def _row(name: Cell, cells: list[Cell], records: list[dict[str, Any]]) -> Row:
    rows = [row for row in records if row["method"] == name.text]
    attributes = listings.data({key: rows[0][key] for key in ("block", "number", "control")})
    named = Cell(name.text, notes=listings.marks(rows[0]))
    return Row([named, *cells], attributes | {"targets": _targets(rows)})


def _targets(rows: Iterable[Mapping[str, Any]]) -> str:
    return "|".join(sorted({percent(row["target"]) for row in rows}))


def _cell(row: Mapping[str, Any]) -> Cell:
    """The mean of a method; its tone is up or down if the difference to the dense network is shown to be so."""
    mean, lower, upper = (row[f"accuracy{end}"] for end in ("", "_lower", "_upper"))
    if math.isnan(mean):
        return Cell(notes=(finished(row),))
    if is_below(row):
        return Cell(notes=(f"only {measured(row)}",))
    differs = row["target"] > 0 and not math.isnan(row["difference"])
    return Cell(
        hundredths(mean),
        half((upper - lower) / 2),
        signed_or_zero(row["difference"]) if differs else "",
        (*near(row), *_notes(row)),
        mark(row),
        "up" if row["difference_lower"] > 0 else "down" if row["difference_upper"] < 0 else "level",
        mean,
    )


def _notes(row: Mapping[str, Any]) -> Iterator[str]:
    if row["sparsity"] > row["target"] + MET and row["place"] == row["target"]:
        yield f"at {measured(row)}"
    if row["lost"] or row["n"] == 1:
        yield finished(row) or "1 seed"
    if row["verdict"] == "wins":
        yield WINS


def _notices(rows: pd.DataFrame) -> Iterator[str]:
    """Reasons to be careful when comparing the rows of a leaderboard."""
    yield from outside(rows)
    for text in distinct(rows["unfit"]):
        yield f"The model is not fit to be pruned at initialisation: {text}"
    for name, what in (("environment", "environments"), ("data", "versions of the data")):
        if len(texts := distinct(rows[name])) > 1:
            yield f"The rows come from {len(texts)} {what}, and may differ by that alone: {'; '.join(texts)}"
    yield from (text.rstrip(".") for text in (*below_targets(rows), *kept_zeros(rows), *code_doubts(rows)))
