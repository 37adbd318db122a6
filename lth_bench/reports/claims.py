"""Claims of suites and what became of them, as a table for readers and as numbers for programs."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import pandas as pd
from pydantic import TypeAdapter, ValidationError

from lth_bench.errors import FileFault
from lth_bench.experiments.choices import faults_of
from lth_bench.experiments.claims import ClaimEntry, Side, unit
from lth_bench.reports import numbers
from lth_bench.reports.formats import markdown, spreadsheet
from lth_bench.reports.suites import SuiteText, fields_of, suite_texts
from lth_bench.reports.table import NOTHING, Cell, Column, Row, Table
from lth_bench.results.analyses import Analysis
from lth_bench.results.claims import Judged, claims_frame, judged
from lth_bench.results.frame import Results

GROUPED = ("steps", "FLOPs", "bytes", "weights")  # units of large numbers
COLUMNS = [
    Column("claim"),
    Column("source"),
    Column("on"),
    Column("left", form=numbers.three_digits),
    Column("right", form=numbers.three_digits),
    Column("difference", form=numbers.three_digits),
    Column("claimed"),
    Column("seeds", form=numbers.whole),
    Column("verdict", "verdict"),
]
CAPTION = (
    "Left and right are what the claim compares: means over the seeds that both have, or a number that the claim "
    "states; the difference is paired by seed, with its 95 % interval unless said otherwise. Shown: all of the "
    "interval is as claimed; contradicted: none of it is; not told: some of it, or numbers are missing."
)


def claims_of(results: Results, suites: Sequence[SuiteText]) -> list[ClaimEntry]:
    """The claims of suites, in their order; the evidence has the suites whose claims cannot be used."""
    found: list[ClaimEntry] = []
    for suite in suites:
        try:
            found += TypeAdapter(list[ClaimEntry]).validate_python(fields_of(suite.text).get("claims", []))
        except ValidationError as error:
            fault = FileFault(f"the claims of the suite {suite.name} cannot be used: {'; '.join(faults_of(error))}")
            results.evidence.leave_out("", f"suites/{suite.name}.toml", fault)
    return found


def judgements(
    results: Results, analyses: Sequence[Analysis], stated: Sequence[ClaimEntry] | None = None
) -> list[Judged]:
    """What becomes of these claims, by default those of the suites behind the results."""
    claims = claims_of(results, suite_texts(results)) if stated is None else stated
    return list(judged(claims, results.frame, analyses))


def tables(found: Sequence[Judged]) -> list[Table]:
    """One table of all claims; none without claims."""
    rows = [Row(_cells(one)) for one in found]
    return [Table("Claims", COLUMNS, [rows], CAPTION, "claims")] if rows else []


def _cells(one: Judged) -> list[Cell]:
    subject = one.claim.subjects["left"]
    words = (_named(one.claim.text, one), one.claim.source or numbers.MISSING, one.place or numbers.MISSING)
    difference = _number(one.difference, subject, one.claim.is_relative)
    bounds = [_number(bound, subject, one.claim.is_relative).text for bound in (one.lower, one.upper)]
    interval = f"[{', '.join(bounds)}]" if numbers.MISSING not in bounds else ""
    return [
        *map(Cell, words),
        _number(one.left, subject),
        _number(one.right, subject),
        Cell(difference.text, interval, value=difference.value),
        Cell(claimed(one.claim)),
        Cell(str(one.n), value=one.n),
        Cell(one.verdict, notes=(one.why,) if one.why else ()),
    ]


def _named(text: str, one: Judged) -> str:
    return text if one.claim.level == 0.95 else f"{text} (level {one.claim.level:g})"


def _number(value: float, subject: Side, is_share: bool = False) -> Cell:
    """A number of a side, or a difference as a share of the right one."""
    if pd.isna(value):
        return NOTHING
    kind = unit(subject)
    if is_share:
        text = numbers.tenths_percent(value)
    elif kind in GROUPED:
        text = numbers.grouped(value) if abs(value) < 1e6 else f"{'-' * (value < 0)}{numbers.prefixed(abs(value))}"
    else:
        text = numbers.hundredths(value) if kind == "points" else numbers.short(value)
    return Cell(text, value=value)


def claimed(claim: ClaimEntry) -> str:
    """What a claim says of the difference, in short: "≥ 0.5 points"."""
    sign = {"at least by": "≥", "at most by": "≤", "≈": "0 ±"}.get(claim.relation, claim.relation)
    words = "0" if claim.by is None else str(claim.by)
    kind = "" if claim.is_relative or claim.by is None else unit(claim.subjects["left"])
    return " ".join(filter(None, [sign, words, kind]))


def section(found: Sequence[Judged]) -> list[str]:
    """The part of a Markdown report; none without claims."""
    return [f"## Claims\n\n{markdown.bare(table)}\n\n{table.caption}" for table in tables(found)]


def formatted(found: Sequence[Judged], form: str) -> str:
    """Claims in a format: "md" as a table, "csv" and "json" with all numbers."""
    frame = claims_frame(found)
    makers: dict[str, Callable[[], str]] = {
        "md": lambda: markdown.document(tables(found)),
        "csv": lambda: spreadsheet.csv(frame),
        "json": lambda: frame.to_json(orient="records", indent=1, double_precision=10) + "\n",
    }
    return makers[form]()


def lines(found: Sequence[Judged]) -> Iterator[tuple[Judged, str, str]]:
    """Each claim with its statement and, in one line, what was measured."""
    for one in found:
        source = f" ({one.claim.source})" if one.claim.source else ""
        yield one, f"{_named(one.claim.text, one)}{source}", _measured(one)


def _measured(one: Judged) -> str:
    cells: dict[str, Any] = dict(zip((column.head for column in COLUMNS), _cells(one), strict=True))
    place = f"{one.place}: " if one.place else ""
    if one.n == 0:
        return f"{place}{one.why}"
    kind = unit(one.claim.subjects["left"])
    difference = " ".join(filter(None, [cells["difference"].text, cells["difference"].interval]))
    seeds = f"{one.n} seed{'s' if one.n > 1 else ''}"
    sides = f"{cells['left'].text} and {cells['right'].text}" + (f" {kind}" if kind else "")
    return f"{place}{sides}; difference {difference}, claimed {cells['claimed'].text}; {seeds}"
