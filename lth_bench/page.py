"""Results as one page of HTML that needs nothing else: tables, figures, verdicts, and every record behind them."""

from __future__ import annotations

import base64
import hashlib
import json
import math
import re
import shlex
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from importlib.resources import files
from itertools import groupby
from typing import Any, NamedTuple
from xml.etree import ElementTree

import pandas as pd
from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup, escape

from lth_bench.escaping import plain
from lth_bench.leaderboard import MET, STATUSES, Board, overall
from lth_bench.results import BLOCK, Results

Row = dict[str, Any]
Place = tuple[str, str, str]  # data set, model and recipe
Form = Callable[[float], str]

EMBEDDED = 2_000  # experiments up to which the page holds their records
LISTED = 10_000  # experiments up to which it lists all, and not only those that did not finish
LONGEST = 600  # characters of a text from a record; the record has all of it
NONE = "–"
TONES = (*STATUSES, "wins", "fails", "unknown", "yes", "no", "unclear")
SVG, XLINK = "{http://www.w3.org/2000/svg}", "{http://www.w3.org/1999/xlink}"
JOINS = {"stroke-linejoin": "round", "stroke-linecap": "butt"}  # which matplotlib sets in an element of style
DRAWN = """
svg g defs clipPath path rect circle ellipse line polyline polygon text tspan use image symbol marker pattern stop
linearGradient radialGradient
"""
GEOMETRY = """
d x y x1 y1 x2 y2 cx cy r rx ry dx dy fx fy width height points transform viewBox preserveAspectRatio offset orient
refX refY clipPathUnits gradientUnits gradientTransform patternUnits patternTransform markerWidth markerHeight
markerUnits
"""
STYLE = """
fill fill-opacity fill-rule stroke stroke-width stroke-opacity stroke-linecap stroke-linejoin stroke-miterlimit
stroke-dasharray stroke-dashoffset opacity font-family font-size font-style font-weight font-stretch font-variant
text-anchor dominant-baseline baseline-shift clip-path clip-rule stop-color stop-opacity visibility paint-order
marker-start marker-mid marker-end
"""
ELEMENTS, PROPERTIES = frozenset(DRAWN.split()), frozenset(STYLE.split())
ATTRIBUTES = PROPERTIES | set(GEOMETRY.split())
REFERENCE = re.compile(r"url\(#([\w.-]+)\)")
TRANSFORM = re.compile(r"(?:(?:translate|rotate|scale|matrix|skewX|skewY|rgb|rgba)\([-+.,%\w\s]*\)[\s,]*)+")


class Figure(NamedTuple):
    """A figure of a leaderboard; `block` is its data set, model and recipe, `svg` the text of its file.

    Its groups with the id `method-N` are of the N-th method of the board, from 0, in the order of its rows.
    """

    caption: str
    kind: str
    block: Place
    svg: str


@dataclass(frozen=True)
class Content:
    """What a page shows; `suites` are TOML texts by the names of their suites, and may be missing."""

    results: Results
    found: Board
    verdicts: pd.DataFrame
    badges: pd.DataFrame
    figures: Sequence[Figure | tuple[str, str, Place, str]]
    suites: Mapping[str, str]


@dataclass(frozen=True)
class Column:
    """A column: what it is sorted by, how numbers are shown (None: words), what it means, and with which others."""

    head: str
    name: str
    form: Form | None = None
    hint: str = ""
    group: str = ""
    interval: bool = False

    def cell(self, row: Row) -> Cell:
        value = row[self.name]
        if self.form is None:
            return Cell(str(value) or NONE, kind=self.name, tone=value if value in TONES else "")
        if math.isnan(value):
            return Cell(NONE)
        bounds = [row[f"{self.name}_{side}"] for side in ("lower", "upper") if self.interval]
        told = bounds and not any(map(math.isnan, bounds))
        return Cell(self.form(value), f"[{', '.join(map(self.form, bounds))}]" if told else "", f"{value:.12g}")


class Cell(NamedTuple):
    """What is shown, what stands behind it, the number that it is sorted by, what it is, and how it is coloured."""

    text: str
    rest: str = ""
    value: str = ""
    kind: str = ""
    tone: str = ""


@dataclass(frozen=True)
class Line:
    """A row of a table: its cells, what its method is marked with, and what the script knows it by."""

    cells: list[Cell]
    marks: list[str]
    path: str
    data: dict[str, str]


@dataclass(frozen=True)
class Table:
    caption: str
    columns: list[Column]
    lines: list[Line]

    @property
    def groups(self) -> list[tuple[str, int]]:
        """The heads above the heads, and over how many columns each stands."""
        return [(name, len(list(found))) for name, found in groupby(column.group for column in self.columns)]


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
        loader=PackageLoader("lth_bench"),
        autoescape=True,
        undefined=StrictUndefined,
        finalize=_shown,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    texts = {name: (files("lth_bench") / "templates" / f"page.{name}").read_text("utf-8") for name in ("css", "js")}
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
    troubles = [
        {**trouble, "method": trouble["label"], **_error(trouble["error"])} for trouble in evidence.troubles[:LISTED]
    ]
    return {
        "title": ", ".join(sorted(set(frame["suite"]))),
        "counts": [(name, int(counts.get(name, 0))) for name in STATUSES],
        "seeds": ", ".join(str(seed) for seed in sorted(set(frame["seed"]))),
        "methods": frame.loc[frame["control"] == "", "method"].nunique(),
        "versions": [(name, _versions(found)) for name, found in evidence.environment.items() if found],
        "steps": (f"{evidence.computed:,}", f"{evidence.charged:,}") if evidence.charged else None,
        "hours": f"{evidence.seconds / 3600:.1f}",
        "troubles": _table("What did not finish", TROUBLES, troubles) if troubles else None,
    }


def _versions(found: Mapping[str, int]) -> str:
    if len(found) == 1:
        return next(iter(found))
    return ", ".join(f"{name} ({count} experiments)" for name, count in sorted(found.items()))


def _error(error: Any) -> dict[str, str]:
    known = error if isinstance(error, dict) else {}
    return {name: str(known.get(name, "")) for name in ("kind", "message")}


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


def _places(digits: int) -> Form:
    return f"{{:.{digits}f}}".format


def _signed(value: float) -> str:
    return f"{value:+.2f}".replace("-", "−") if abs(value) >= 0.005 else "0.00"


def _percent(value: float) -> str:
    """A share of one, with the digits that it takes to tell targets apart."""
    return f"{100 * value:.6g}%"


def _finely(value: float) -> str:
    return f"{100 * value:.4f}%"


def _roughly(value: float) -> str:
    return f"{100 * value:.3g}%"


def _probability(value: float) -> str:
    return "< 0.001" if value < 0.001 else f"{value:.3f}"


def _prefixed(value: float) -> str:
    """Three digits and a decimal prefix, as of FLOPs, parameters and bytes."""
    size = min(max(int(math.log10(1.0005 * value) // 3), 0), 6) if 0 < value < math.inf else 0
    return f"{value / 1000**size:.3g} {' kMGTPE'[size]}".strip()


def _bytes(value: float) -> str:
    shown = _prefixed(value)
    return f"{shown}B" if shown[-1].isalpha() else f"{shown} B"


def _times(value: float) -> str:
    return f"{value:.3g}×" if value < math.inf else "∞"


def _milliseconds(value: float) -> str:
    return f"{1000 * value:.3g} ms"


def _seconds(value: float) -> str:
    return f"{value:.1f} s" if value < 600 else f"{value / 3600:.1f} h"


def _count(value: float) -> str:
    return f"{value:.1f}".removesuffix(".0")


METHOD = Column("method", "method", hint="† trained with a recipe of its own; controls are marked as such.")
PLACE = Column("sparsity", "place", _percent)
BOARD = Column("leaderboard", "board")
DETAILS = [
    METHOD,
    Column("target", "target", _percent, "The sparsity that was asked for.", "sparsity"),
    Column(
        "measured", "sparsity", _finely,
        "1 − weights left ÷ prunable weights, counted on the final network.", "sparsity",
    ),
    Column(
        "effective", "effective_sparsity", _finely,
        "The same, when weights on no path from input to output do not count as left.", "sparsity",
    ),
    Column("collapsed", "collapsed_layers", _count, "Layers in which no weight is left, on average.", "sparsity"),
    Column(
        "accuracy", "accuracy", _places(2),
        "Mean test accuracy in per cent at the last step, with Student's 95 % interval over seeds.", "accuracy",
        interval=True,
    ),
    Column("seeds", "n", _count, "Seeds that finished; all means are over these.", "accuracy"),
    Column("lost", "lost", None, "Seeds that diverged, failed or are missing; they are in no mean.", "accuracy"),
    Column(
        "calibration", "calibration_error", _places(2),
        "Expected calibration error, in per cent.", "accuracy",
    ),
    Column(
        "difference", "difference", _signed,
        "To the dense network of the same seed, in points, with its paired 95 % interval.", "against dense",
        interval=True,
    ),
    Column("p", "p", _probability, "Paired t test, two-sided.", "against dense"),
    Column("p, Holm", "p_holm", _probability, "The same, adjusted over the methods at this sparsity.", "against dense"),
    Column("p, sign flips", "sign_flip_p", _probability, "The exact sign-flip test, two-sided.", "against dense"),
    Column(
        "its least", "sign_flip_least", _places(3),
        "What that p cannot fall below with so few seeds: above 0.05, it can never be significant.", "against dense",
    ),
    Column(
        "rank", "rank", _count,
        "Among the methods at this sparsity; controls, and methods that lost a seed, have none.", "standing",
    ),
    Column(
        "area", "area", _places(2),
        "Mean accuracy over −log₁₀(1 − sparsity), of methods that finished all usual targets.", "standing",
    ),
    Column("ticket", "verdict", None, "Whether this is a winning ticket; see there.", "standing"),
    Column(
        "FLOPs", "training_flops", _prefixed,
        "Of training and search, if every pruned weight were skipped.", "training",
    ),
    Column("× dense", "training_ratio", _times, "The same, over that of the dense network.", "training"),
    Column(
        "dense FLOPs", "training_flops_dense", _prefixed,
        "Of the same work on dense matrices, with nothing skipped.", "training",
    ),
    Column("× dense", "training_dense_ratio", _times, "The same, over that of the dense network.", "training"),
    Column("FLOPs", "inference_flops", _prefixed, "Of one image, if every pruned weight is skipped.", "inference"),
    Column("of dense", "inference_share", _roughly, "Their share of the dense network's.", "inference"),
    Column(
        "speed-up", "theoretical_speedup", _times,
        "Theoretical, not measured: FLOPs of the dense network over these.", "inference",
    ),
    Column(
        "latency", "latency", _milliseconds,
        "Measured: the median of a forward pass of one image through the network as it stands.", "inference",
    ),
    Column("parameters", "parameters", _prefixed, "Left, with those that are not prunable.", "size"),
    Column("dense", "bytes_dense", _bytes, "All of them as 4-byte numbers.", "size"),
    Column("bitmap", "bytes_bitmap", _bytes, "A bit for each weight, and those left.", "size"),
    Column("CSR", "bytes_csr", _bytes, "Compressed sparse rows.", "size"),
    Column("time", "seconds", _seconds, "Wall-clock in workers; what was looked up costs nothing.", "run"),
    Column("memory", "peak_memory", _bytes, "The most that training held on the GPU, else the whole process.", "run"),
]  # fmt: skip
BOARD = Column("leaderboard", "board")
SPARSITY = Column("sparsity", "place", _percent)
STANDING = [
    METHOD,
    Column("mean rank", "mean_rank", _places(2), "Over the cells in which it was ranked."),
    Column("best", "best", _count, "In how many cells it is not told from the best."),
    Column("cells", "cells", _count, "Sparsities of leaderboards in which it was ranked."),
    Column("asked", "asked", _count, "In how many it should have been: means over different cells do not compare."),
    Column("leaderboards", "leaderboards", _count),
    Column("difference", "difference", _signed, "To dense, in points, over all of them."),
]
VERDICTS = [METHOD, BOARD, SPARSITY, Column("ticket", "verdict"), Column("why", "why")]
BADGES = [
    METHOD,
    BOARD,
    Column("control", "changed"),
    Column("question", "question"),
    Column("answer", "verdict"),
    Column(
        "difference", "difference", _signed, "Method − control, in points, with its paired 95 % interval.", "", True
    ),
    Column("seeds", "n", _count),
]
CHANGED = {"control": "changed", "lower": "difference_lower", "upper": "difference_upper"}
TROUBLES = [
    METHOD,
    Column("status", "status"),
    Column("kind", "kind"),
    Column("what it says", "message"),
    Column("record", "key"),
]
EXPERIMENTS = [
    METHOD,
    BOARD,
    Column("sparsity", "asked", _percent, "As asked for."),
    Column("seed", "seed", _count),
    Column("status", "status"),
    Column("accuracy", "last_accuracy", _places(2), "Test accuracy in per cent at the last step."),
    Column("difference", "difference", _signed, "To the dense network of the same seed, in points."),
    Column("record", "key"),
]


def _table(caption: str, columns: list[Column], rows: list[Row]) -> Table:
    """A line for each row; columns of numbers of which none is known are left out."""
    shown = [c for c in columns if c.form is None or not all(math.isnan(row[c.name]) for row in rows)]
    return Table(caption, shown, [_line(row, shown) for row in rows])


def _line(row: Row, columns: list[Column]) -> Line:
    return Line([column.cell(row) for column in columns], _marks(row), row.get("path", ""), _data(row))


def _marks(row: Row) -> list[str]:
    return ["†"] * bool(row.get("own_recipe")) + ["control"] * bool(row.get("control"))


def _data(row: Row) -> dict[str, str]:
    """What a row is filtered and highlighted by, and which record it is of, as far as it is of one."""
    known = {name: str(row[name]) for name in ("block", "number", "control", "record", "command") if name in row}
    return {name: value for name, value in known.items() if value} | (
        {"targets": _percent(row["target"])} if "target" in row else {}
    )


def _boards(content: Content) -> dict[str, Any]:
    """The leaderboards, and what is said over all of them."""
    places = [place for place, _ in content.found.blocks()]
    names = _names(places)
    rows = _numbered(content, names)
    keys = [*BLOCK, "method", "target"]
    where = rows[[*keys, "board", "block", "number", "place", "own_recipe"]]
    methods = where.drop_duplicates([*BLOCK, "method"]).drop(columns=["target", "place"])
    badges = content.badges.rename(columns=CHANGED).merge(methods, on=[*BLOCK, "method"])
    standing = overall(content.found)
    drawn = [(figure, _drawing(figure, f"f{n}-")) for n, figure in enumerate(map(Figure._make, content.figures))]
    return {
        "blocks": [_block(place, rows[rows["board"] == names[place]], drawn) for place in places],
        "others": [(figure.caption, svg) for figure, svg in drawn if tuple(figure.block) not in places],
        "targets": [_percent(target) for target in sorted(set(rows["target"]))],
        "standing": _table("Methods over all leaderboards", STANDING, _rows(standing)) if len(standing) else None,
        "verdicts": _table("Winning tickets", VERDICTS, _rows(content.verdicts.merge(where, on=keys))),
        "badges": _table("Sanity checks", BADGES, _rows(badges)),
        "tickets": [(name, int((content.verdicts["verdict"] == name).sum())) for name in ("wins", "fails", "unknown")],
        "columns": DETAILS,
        "choices": {kind: sorted(set(rows[kind])) for kind in ("dataset", "model")},
        "seed_count": int(rows["n"].max()),
        "least": f"{rows['sign_flip_least'].min():.2g}",
    }


def _names(places: list[Place]) -> dict[Place, str]:
    """What each leaderboard is called; with its recipe where that tells it from another."""
    several = {place for place in places if sum(place[:2] == other[:2] for other in places) > 1}
    return {place: f"{place[1]} on {place[0]}" + (f", {place[2]}" if place in several else "") for place in places}


def _numbered(content: Content, names: Mapping[Place, str]) -> pd.DataFrame:
    """The rows of the board with their verdicts, losses, relative costs, and the numbers of leaderboard and method."""
    rows = content.found.rows
    verdicts = content.verdicts[[*BLOCK, "method", "target", "verdict"]]
    rows = rows.merge(verdicts, on=[*BLOCK, "method", "target"], how="left").fillna({"verdict": ""})
    boards = [names[(row[0], row[1], row[2])] for row in rows[BLOCK].itertuples(index=False)]
    numbers = {name: number for number, name in enumerate(names.values())}
    rows = rows.assign(board=boards, block=[numbers[name] for name in boards], lost=[_lost(row) for row in _rows(rows)])
    dense = rows[(rows["target"] == 0) & (rows["control"] == "")].drop_duplicates("board").set_index("board")
    reference = rows["board"].map(dense["training_flops"])
    told = ["difference", "difference_lower", "difference_upper", "p", "sign_flip_p", "sign_flip_least"]
    rows[told] = rows[told].where(rows["target"] > 0)  # what is not pruned is what the others are compared with
    return rows.assign(
        number=pd.factorize(rows["method"])[0],
        training_ratio=rows["training_flops"] / reference,
        training_dense_ratio=rows["training_flops_dense"] / reference,
    )


def _rows(frame: pd.DataFrame) -> list[Row]:
    return [{str(name): value for name, value in row.items()} for row in frame.to_dict("records")]


def _lost(row: Row) -> str:
    return ", ".join(f"{row[name]} {name}" for name in STATUSES[1:] if row[name])


def _block(place: Place, rows: pd.DataFrame, drawn: list[tuple[Figure, Markup]]) -> Block:
    lines = _rows(rows)
    name = lines[0]["board"]
    details = _table(f"{name}: every number", DETAILS, lines)
    places = sorted({row["place"] for row in lines})
    methods: dict[str, list[Row]] = {}
    for row in lines:
        methods.setdefault(row["method"], []).append(row)
    return Block(
        place=place,
        name=name,
        across=[(_percent(at), _targets(row for row in lines if row["place"] == at)) for at in places],
        methods=[_method(found, places) for found in methods.values()],
        details=details,
        unknown=[f"{c.group} {c.head}" for c in DETAILS if c not in details.columns and rows["n"].any()],
        notices=list(_notices(rows)),
        figures=[(figure.caption, svg) for figure, svg in drawn if tuple(figure.block) == place],
    )


def _targets(rows: Iterable[Row]) -> str:
    return "|".join(sorted({_percent(row["target"]) for row in rows}))


def _method(rows: list[Row], places: list[float]) -> Method:
    first = rows[0]
    data = _data({name: first[name] for name in ("block", "number", "control")})
    cells = [[_entry(row) for row in rows if row["place"] == at] for at in places]
    return Method(first["method"], _marks(first), data | {"targets": _targets(rows)}, cells)


def _entry(row: Row) -> Entry:
    mean, lower, upper = (row[f"accuracy{end}"] for end in ("", "_lower", "_upper"))
    if math.isnan(mean):
        return Entry("", "", "", "", [row["lost"]], False, False, "")
    above = row["sparsity"] > row["target"] + MET and row["place"] == row["target"]
    notes = [f"at {_percent(round(row['sparsity'], 4))}"] if above else []
    notes += [", ".join([f"n = {row['n']}", *filter(None, [row["lost"]])])] if row["lost"] or row["n"] == 1 else []
    pruned = row["target"] > 0 and not math.isnan(row["difference"])
    return Entry(
        mean=f"{mean:.2f}",
        half="" if math.isnan(lower) else f"±\N{NO-BREAK SPACE}{(upper - lower) / 2:.2f}",
        difference=_signed(row["difference"]) if pruned else "",
        side="up" if row["difference_lower"] > 0 else "down" if row["difference_upper"] < 0 else "level",
        notes=notes,
        best=bool(row["best"]),
        wins=row["verdict"] == "wins",
        value=f"{mean:.12g}",
    )


def _notices(rows: pd.DataFrame) -> Iterator[str]:
    """What makes the rows of a leaderboard hard to compare."""
    for text in _parts(rows["unfit"]):
        yield f"The model is not fit to be pruned at initialisation: {text}"
    for name, what in (("environment", "environments"), ("data", "versions of the data")):
        if len(found := _parts(rows[name])) > 1:
            yield f"The rows come from {len(found)} {what}, and may differ by that alone: {'; '.join(found)}"


def _parts(texts: pd.Series[str]) -> list[str]:
    return sorted({part for text in set(texts) for part in text.split("; ") if part})


def _experiments(content: Content) -> dict[str, Any]:
    """A row for every experiment, and the records, unless there are too many."""
    frame = content.results.frame
    listed = frame if len(frame) <= LISTED else frame[frame["status"] != "done"].head(LISTED)
    records = list(content.results.records()) if len(frame) <= EMBEDDED else []
    numbers = {record["key"]: number for number, record in enumerate(records)}
    places = [place for place, _ in content.found.blocks()]
    names, index = _names(places), {place: number for number, place in enumerate(places)}
    here = [(row[0], row[1], row[2]) for row in listed[BLOCK].itertuples(index=False)]
    listed = listed.assign(
        target=listed["asked"],
        board=[names[place] for place in here],
        block=[index[place] for place in here],
        path=["records/" * (status != "missing") for status in listed["status"]],
        record=[numbers.get(key, "") for key in listed["key"]],
        command=[_command(*pair, content.suites) for pair in zip(listed["suite"], listed["key"], strict=True)],
    )
    return {
        "experiments": _table("Experiments", EXPERIMENTS, _rows(listed)),
        "records": [_embedded(record) for record in records],
        "left_out": len(frame) - len(listed),
        "example": _command(content.results.frame["suite"].iloc[0], "KEY", content.suites),
    }


def _command(suite: str, key: str, suites: Mapping[str, str]) -> str:
    """What runs an experiment again."""
    only = f"\"key == '{key}'\"" if re.fullmatch(r"\w+", key, re.ASCII) else shlex.quote(f"key == {key!r}")
    return f"lth-bench run {_file(suite, suites)} --only {only} --data DIR"


def _embedded(record: Row) -> Markup:
    """JSON that ends no element of script, whatever it holds."""
    return Markup(json.dumps(record, separators=(",", ":")).replace("<", "\\u003c"))


def _drawing(figure: Figure, prefix: str) -> Markup:
    """An SVG of plain drawing alone: no script, style or link, and ids that no other figure has."""
    try:
        root = _cleaned(ElementTree.fromstring(figure.svg), prefix)
        if root is None or root.tag != "svg":
            raise ValueError("it is no SVG")
        root.attrib |= {"role": "img", "aria-label": plain(figure.caption), **JOINS}
        return Markup(ElementTree.tostring(root, encoding="unicode"))
    except (ElementTree.ParseError, ValueError, RecursionError) as error:
        return escape(f"This figure cannot be shown: {plain(str(error))}")


def _cleaned(element: ElementTree.Element, prefix: str) -> ElementTree.Element | None:
    name = element.tag.removeprefix(SVG)
    if name not in ELEMENTS:
        return None
    kept = ElementTree.Element(name, dict(_attributes(element, prefix)))
    if name in ("use", "image") and "href" not in kept.attrib:
        return None
    if name in ("text", "tspan"):
        kept.text = plain(element.text or "")
    for found in element:
        if (child := _cleaned(found, prefix)) is not None:
            child.tail = plain(found.tail or "") if kept.text is not None else None
            kept.append(child)
    return kept


def _attributes(element: ElementTree.Element, prefix: str) -> Iterator[tuple[str, str]]:
    """What an element is drawn by; declarations of its style as attributes, which no policy forbids."""
    styles = (part.partition(":")[::2] for part in element.get("style", "").split(";"))
    declared = {name.strip(): value.strip() for name, value in styles if name.strip() in PROPERTIES}
    for name, value in {**element.attrib, **declared}.items():
        name = name.removeprefix(XLINK)
        if name == "id":
            yield name, prefix + value
            if found := re.match(r"method-(\d+)", value):
                yield "data-number", found[1]
        elif name == "href" and value.startswith("#"):
            yield name, f"#{prefix}{value[1:]}"
        elif name == "href" and value.startswith("data:image/png;base64,"):
            yield name, value
        elif name in ATTRIBUTES and (drawn := _local(value, prefix)) is not None:
            yield name, drawn


def _local(value: str, prefix: str) -> str | None:
    """A value with its references under their new names; None if it refers to anything else."""
    rest = REFERENCE.sub("", value)
    return (
        None
        if re.search(r"\\|\w\(", rest) and not TRANSFORM.fullmatch(rest)
        else REFERENCE.sub(rf"url(#{prefix}\1)", value)
    )
