"""Results as one page of HTML that needs nothing else: tables, figures, verdicts, and every record behind them."""

from __future__ import annotations

import base64
import hashlib
import math
import re
import shlex
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from importlib.resources import files
from typing import Any

import pandas as pd
from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup, escape

from lth_bench.reports.escaping import plain
from lth_bench.reports.page import columns
from lth_bench.reports.page.columns import Row, Table, percent, signed, table
from lth_bench.reports.page.svg import cleaned
from lth_bench.reports.tables import distinct, verdict_sentence
from lth_bench.results.frame import BLOCK, Results, rows_of
from lth_bench.results.leaderboard import MET, STATUSES, Board, Place, overall

EMBEDDED = 2_000  # experiments up to which the page holds their records
LISTED = 10_000  # experiments up to which it lists all, and not only those that did not finish
LONGEST = 600  # characters of a text from a record; the record has all of it
CHANGED = {"control": "changed", "lower": "difference_lower", "upper": "difference_upper"}


@dataclass(frozen=True)
class Content:
    """What a page shows; `suites` are TOML texts by the names of their suites, and may be missing.

    `figures` have a caption, a kind, a leaderboard and the text of an SVG, in which groups with the id `method-N` are
    of the N-th method of the board, from 0, in the order of its rows.
    """

    results: Results
    found: Board
    verdicts: pd.DataFrame
    badges: pd.DataFrame
    figures: Sequence[tuple[str, str, Place, str]]
    suites: Mapping[str, str]


@dataclass(frozen=True)
class Entry:
    """What a leaderboard shows of a method at a sparsity; `side` is up or down where it is told from dense."""

    mean: str
    half: str
    difference: str
    side: str
    notes: list[str]
    best: bool
    wins: bool
    value: str


@dataclass(frozen=True)
class Method:
    """A row of a leaderboard: at every place of its head, the entries that stand there."""

    name: str
    marks: list[str]
    data: dict[str, str]
    cells: list[list[Entry]]


@dataclass(frozen=True)
class Block:
    """A leaderboard; `across` are places, each with the targets of the entries that stand there."""

    place: Place
    name: str
    across: list[tuple[str, str]]
    methods: list[Method]
    details: Table
    unknown: list[str]
    notices: list[str]
    figures: list[tuple[str, Markup]]


def page(content: Content) -> str:
    """The page, as the text of a file; its CSS and script are admitted by their hashes, and nothing else is."""
    environment = Environment(
        loader=PackageLoader("lth_bench.reports.page"),
        autoescape=True,
        undefined=StrictUndefined,
        finalize=_shown,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    templates = files("lth_bench.reports.page") / "templates"
    texts = {name: (templates / f"page.{name}").read_text("utf-8") for name in ("css", "js")}
    parts = {**_head(content), **_boards(content), **_experiments(content), **_sources(content)}
    sources = {name: Markup(text) for name, text in texts.items()}
    return environment.get_template("page.html").render(policy=_policy(texts), sources=sources, **parts).strip() + "\n"


def _shown(value: Any) -> Any:
    """What the template may show: texts on one line, with nothing invisible, and not endless."""
    if isinstance(value, Markup) or not isinstance(value, str):
        return value
    text = plain(value)
    return text if len(text) <= LONGEST else f"{text[: LONGEST // 2]}…{text[-LONGEST // 4 :]}"


def _policy(texts: Mapping[str, str]) -> str:
    css, script = (base64.b64encode(hashlib.sha256(texts[name].encode()).digest()).decode() for name in ("css", "js"))
    return (
        f"default-src 'none'; style-src 'sha256-{css}'; script-src 'sha256-{script}'; img-src data:; "
        "base-uri 'none'; form-action 'none'"
    )


def _head(content: Content) -> dict[str, Any]:
    frame, evidence = content.results.frame, content.results.evidence
    counts = frame["status"].value_counts()
    troubles = [{**trouble._asdict(), "method": trouble.label} for trouble in evidence.troubles[:LISTED]]
    return {
        "title": ", ".join(sorted(set(frame["suite"]))),
        "counts": [(name, int(counts.get(name, 0))) for name in STATUSES],
        "seeds": ", ".join(str(seed) for seed in sorted(set(frame["seed"]))),
        "methods": frame.loc[frame["control"] == "", "method"].nunique(),
        "versions": [(name, _versions(found)) for name, found in evidence.environment.items() if found],
        "steps": (f"{evidence.computed:,}", f"{evidence.charged:,}") if evidence.charged else None,
        "hours": f"{evidence.seconds / 3600:.1f}",
        "troubles": table("What did not finish", columns.TROUBLES, troubles) if troubles else None,
    }


def _versions(found: Mapping[str, int]) -> str:
    if len(found) == 1:
        return next(iter(found))
    return ", ".join(f"{name} ({count} experiments)" for name, count in sorted(found.items()))


def _sources(content: Content) -> dict[str, Any]:
    names = sorted(set(content.results.frame["suite"]))
    return {
        "suites": [(name, _preformatted(text)) for name, text in content.suites.items()],
        "commands": [f"lth-bench run {_file(name, content.suites)} --data DIR" for name in names],
    }


def _file(suite: str, suites: Mapping[str, str]) -> str:
    """How a suite is named on the command line: by its file, if the page shows one."""
    return shlex.quote(f"suites/{suite}.toml" if suite in suites else suite)


def _preformatted(text: str) -> Markup:
    """Text in lines, with its white space."""
    lines = (" ".join(plain(part) for part in line.split(" ")) for line in text.expandtabs(4).splitlines())
    return escape("\n".join(lines))


def _boards(content: Content) -> dict[str, Any]:
    """The leaderboards, and what is said over all of them."""
    names = content.found.names()
    rows = _numbered(content, names)
    keys = [*BLOCK, "method", "target"]
    where = rows[[*keys, "board", "block", "number", "place", "own_recipe"]]
    methods = where.drop_duplicates([*BLOCK, "method"]).drop(columns=["target", "place"])
    badges = content.badges.rename(columns=CHANGED).merge(methods, on=[*BLOCK, "method"])
    standing = rows_of(overall(content.found))
    drawn: dict[Place, list[tuple[str, Markup]]] = defaultdict(list)
    for number, (caption, _, place, svg) in enumerate(content.figures):
        drawn[place].append((caption, cleaned(svg, caption, f"f{number}-")))
    return {
        "blocks": [_block(place, rows[rows["board"] == names[place]], drawn[place]) for place in names],
        "others": [figure for place, figures in drawn.items() if place not in names for figure in figures],
        "targets": [percent(target) for target in sorted(set(rows["target"]))],
        "standing": table("Methods over all leaderboards", columns.STANDING, standing) if standing else None,
        "verdicts": table("Winning tickets", columns.VERDICTS, rows_of(content.verdicts.merge(where, on=keys))),
        "badges": table("Sanity checks", columns.BADGES, rows_of(badges)),
        "tickets": [(name, int((content.verdicts["verdict"] == name).sum())) for name in ("wins", "fails", "unknown")],
        "meaning": verdict_sentence(),
        "columns": columns.DETAILS,
        "choices": {kind: sorted(set(rows[kind])) for kind in ("dataset", "model")},
        "seed_count": int(rows["n"].max()),
        "least": f"{rows['sign_flip_least'].min():.2g}",
    }


def _numbered(content: Content, names: Mapping[Place, str]) -> pd.DataFrame:
    """The rows of the board with their verdicts, losses, relative costs, and the numbers of leaderboard and method."""
    rows = content.found.rows
    verdicts = content.verdicts[[*BLOCK, "method", "target", "verdict"]]
    rows = rows.merge(verdicts, on=[*BLOCK, "method", "target"], how="left").fillna({"verdict": ""})
    rows = _placed(rows, names).assign(lost=[_lost(row) for row in rows_of(rows)])
    told = ["difference", "difference_lower", "difference_upper", "p", "sign_flip_p", "sign_flip_least"]
    rows[told] = rows[told].where(rows["target"] > 0)  # what is not pruned is what the others are compared with
    return rows.assign(number=pd.factorize(rows["method"])[0], **content.found.relative_costs())


def _placed(rows: pd.DataFrame, names: Mapping[Place, str]) -> pd.DataFrame:
    """Rows with the names and numbers of their leaderboards."""
    boards = [names[(dataset, model, recipe)] for dataset, model, recipe in rows[BLOCK].itertuples(index=False)]
    numbers = {name: number for number, name in enumerate(names.values())}
    return rows.assign(board=boards, block=[numbers[name] for name in boards])


def _lost(row: Row) -> str:
    return ", ".join(f"{row[name]} {name}" for name in STATUSES[1:] if row[name])


def _block(place: Place, rows: pd.DataFrame, figures: list[tuple[str, Markup]]) -> Block:
    lines = rows_of(rows)
    name = lines[0]["board"]
    details = table(f"{name}: every number", columns.DETAILS, lines)
    places = sorted({row["place"] for row in lines})
    methods: dict[str, list[Row]] = {}
    for row in lines:
        methods.setdefault(row["method"], []).append(row)
    return Block(
        place=place,
        name=name,
        across=[(percent(at), _targets(row for row in lines if row["place"] == at)) for at in places],
        methods=[_method(found, places) for found in methods.values()],
        details=details,
        unknown=[f"{c.group} {c.head}" for c in columns.DETAILS if c not in details.columns and rows["n"].any()],
        notices=list(_notices(rows)),
        figures=figures,
    )


def _targets(rows: Iterable[Row]) -> str:
    return "|".join(sorted({percent(row["target"]) for row in rows}))


def _method(rows: list[Row], places: list[float]) -> Method:
    first = rows[0]
    data = columns.data({name: first[name] for name in ("block", "number", "control")})
    cells = [[_entry(row) for row in rows if row["place"] == at] for at in places]
    return Method(first["method"], columns.marks(first), data | {"targets": _targets(rows)}, cells)


def _entry(row: Row) -> Entry:
    mean, lower, upper = (row[f"accuracy{end}"] for end in ("", "_lower", "_upper"))
    if math.isnan(mean):
        return Entry("", "", "", "", [row["lost"]], False, False, "")
    above = row["sparsity"] > row["target"] + MET and row["place"] == row["target"]
    notes = [f"at {percent(round(row['sparsity'], 4))}"] if above else []
    notes += [", ".join([f"n = {row['n']}", *filter(None, [row["lost"]])])] if row["lost"] or row["n"] == 1 else []
    pruned = row["target"] > 0 and not math.isnan(row["difference"])
    return Entry(
        mean=f"{mean:.2f}",
        half="" if math.isnan(lower) else f"±\N{NO-BREAK SPACE}{(upper - lower) / 2:.2f}",
        difference=signed(row["difference"]) if pruned else "",
        side="up" if row["difference_lower"] > 0 else "down" if row["difference_upper"] < 0 else "level",
        notes=notes,
        best=bool(row["best"]),
        wins=row["verdict"] == "wins",
        value=f"{mean:.12g}",
    )


def _notices(rows: pd.DataFrame) -> Iterator[str]:
    """What makes the rows of a leaderboard hard to compare."""
    for text in distinct(rows["unfit"]):
        yield f"The model is not fit to be pruned at initialisation: {text}"
    for name, what in (("environment", "environments"), ("data", "versions of the data")):
        if len(found := distinct(rows[name])) > 1:
            yield f"The rows come from {len(found)} {what}, and may differ by that alone: {'; '.join(found)}"


def _experiments(content: Content) -> dict[str, Any]:
    """A row for every experiment, and the records, unless there are too many."""
    frame = content.results.frame
    listed = frame if len(frame) <= LISTED else frame[frame["status"] != "done"].head(LISTED)
    records = dict(content.results.documents()) if len(frame) <= EMBEDDED else {}
    numbers = {key: number for number, key in enumerate(records)}
    listed = _placed(listed, content.found.names()).assign(
        target=listed["asked"],
        path=["records/" * (status != "missing") for status in listed["status"]],
        record=[numbers.get(key, "") for key in listed["key"]],
        command=[_command(*pair, content.suites) for pair in zip(listed["suite"], listed["key"], strict=True)],
    )
    return {
        "experiments": table("Experiments", columns.EXPERIMENTS, rows_of(listed)),
        "records": [_embedded(record) for record in records.values()],
        "left_out": len(frame) - len(listed),
        "example": _command(content.results.frame["suite"].iloc[0], "KEY", content.suites),
    }


def _command(suite: str, key: str, suites: Mapping[str, str]) -> str:
    """What runs an experiment again."""
    only = f"\"key == '{key}'\"" if re.fullmatch(r"\w+", key, re.ASCII) else shlex.quote(f"key == {key!r}")
    return f"lth-bench run {_file(suite, suites)} --only {only} --data DIR"


def _embedded(record: str) -> Markup:
    """JSON that ends no element of script, whatever it holds."""
    return Markup(record.replace("<", "\\u003c"))
