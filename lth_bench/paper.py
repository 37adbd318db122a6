"""Tables for papers: what a run directory holds as LaTeX, Markdown, CSV or HTML, with its protocol in the caption."""

from __future__ import annotations

import csv
import dataclasses
import io
import math
import re
import textwrap
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import cache, cached_property
from typing import Any

import pandas as pd

from lth_bench import escaping
from lth_bench.escaping import plain
from lth_bench.leaderboard import MET, board
from lth_bench.published import citation, published
from lth_bench.recipe import Recipe
from lth_bench.results import BLOCK, Results, dense_runs

NEAR = 0.005  # a published number stands in a column whose sparsity is no farther away
UNKNOWN = "n/a"
TROUBLES = {"diverged": "div.", "failed": "fail.", "missing": "miss."}
UNITS = ("B", "kB", "MB", "GB", "TB")
MOST = 5  # recipes that a caption names
VERSIONED = ("lth-bench", "torch", "timm")
OPTIMIZERS = {"sgd": "SGD", "adam": "Adam", "adamw": "AdamW"}


@dataclass(frozen=True)
class Cell:
    """A number or a word, what stands behind it, and how it is set; `span` is over so many columns."""

    text: str
    spread: str = ""
    note: str = ""
    bold: bool = False
    italic: bool = False
    span: int = 1

    @property
    def is_number(self) -> bool:
        return re.fullmatch(r"[+−]?[\d,]+(\.\d+)?", self.text) is not None


DASH = Cell("–")  # not asked for
Row = list[Cell]


@dataclass(frozen=True)
class PaperTable:
    """One table in plain text: sections have rules between them, and the first cell of a row is its name."""

    title: str
    caption: str
    label: str
    header: list[str]
    sections: list[list[Row]]

    @property
    def rows(self) -> list[Row]:
        return [row for section in self.sections for row in section]


@dataclass(frozen=True)
class Wanted:
    """Which rows a table is to have: `methods` are names with commas between them, "" is all of them."""

    at: float | None = None
    methods: str = ""
    controls: bool = True
    published: bool = False


@dataclass(frozen=True)
class _Block:
    """The rows of a board for one data set, model and recipe."""

    dataset: str
    model: str
    recipe: str
    rows: list[Any]

    @property
    def targets(self) -> list[float]:
        return sorted({row.target for row in self.rows} - {0.0})

    @property
    def name(self) -> str:
        return f"{self.dataset} {self.model} {self.recipe}"

    @property
    def where(self) -> str:
        return f"{_shortened(self.model)} on {_shortened(self.dataset)}"

    def at(self, target: float) -> dict[str, Any]:
        return {row.method: row for row in self.rows if row.target == target}


@dataclass(frozen=True)
class _Found:
    results: Results
    wanted: Wanted
    blocks: list[_Block]

    @cached_property
    def frame(self) -> pd.DataFrame:
        return self.results.frame.drop_duplicates(BLOCK).set_index(BLOCK)

    @cached_property
    def suites(self) -> str:
        return " ".join(sorted(self.results.evidence.suites))

    def recipe(self, block: _Block) -> dict[str, Any]:
        return self.results.recipes[str(self.frame.loc[(block.dataset, block.model, block.recipe), "board_hash"])]


@dataclass(frozen=True)
class _Texts:
    title: str
    label: str
    notes: list[str]


def tables(results: Results, layout: str, wanted: Wanted) -> list[PaperTable]:
    """The tables of a layout; raises ValueError for methods and sparsities that there are not.

    Which methods are best and how they rank is found among those that are wanted.
    """
    frame = _chosen(results.frame, wanted)
    blocks = [_Block(*place, list(rows.itertuples())) for place, rows in board(frame).blocks()]
    return _labelled(LAYOUTS[layout](_Found(results, wanted, blocks)))


def rendered(tables: list[PaperTable], form: str) -> str:
    """Tables in one of the formats `FORMATS`, as a file that can be used as it is."""
    return FORMATS[form](tables)


def _chosen(frame: pd.DataFrame, wanted: Wanted) -> pd.DataFrame:
    """The rows of the wanted methods, and of dense networks."""
    if not wanted.controls:
        frame = frame[frame["control"] == ""]
    if wanted.methods:
        names = _named(wanted.methods, list(dict.fromkeys(frame["method"])))
        frame = frame[frame["method"].isin(names) | frame.index.isin(dense_runs(frame).index)]
    if frame.empty:
        raise ValueError("there are only controls, and they were not wanted")
    return frame.reset_index(drop=True)


def _named(text: str, known: list[str]) -> list[str]:
    """Names out of a list with commas, which may be in the names as well: the longest that fits is meant."""
    any_name = "|".join(re.escape(name) for name in sorted(known, key=len, reverse=True))
    names, rest = [], text.strip()
    while rest:
        found = re.match(rf"({any_name})\s*(?:,\s*|$)", rest)
        if found is None:
            wrong, there = plain(rest.split(",")[0]), "; ".join(map(plain, known))
            raise ValueError(f"no method {wrong!r} (of {plain(text)!r}); there are: {there}")
        names.append(found[1])
        rest = rest[found.end() :]
    return names


def _labelled(made: Iterable[PaperTable]) -> list[PaperTable]:
    """Tables with labels of their own."""
    counts: Counter[str] = Counter()
    labelled = []
    for table in made:
        counts[table.label] += 1
        number = f"-{counts[table.label]}" if counts[table.label] > 1 else ""
        labelled.append(dataclasses.replace(table, label=table.label + number))
    return labelled


def _by_sparsity(found: _Found) -> Iterator[PaperTable]:
    """A table per block: methods by sparsities, the dense network apart."""
    for block in found.blocks:
        columns = block.targets or [0.0]
        sections = _sections(block.rows, lambda rows, columns=columns: _at_targets(rows, columns))  # type: ignore[misc]
        dense = [_spanning(row, len(columns)) for row in block.at(0.0).values()]
        reported = _reported_rows(found, block, columns) if found.wanted.published else []
        title = f"Accuracy (%) of {block.where} by sparsity"
        notes = [
            _protocol(found, block),
            *_legend(block.rows),
            *_about_reported(reported),
        ]
        label = f"{found.suites} {block.name}"
        header = ["method", *map(_percent, columns)]
        yield _table(found, _Texts(title, label, notes), header, [dense, *sections, reported])


def _by_model(found: _Found) -> Iterator[PaperTable]:
    """One table: methods by models at one sparsity, and the mean of their ranks."""
    at = _sparsity(found.wanted.at, found.blocks)
    asked = [{row.method: row for row in block.rows if row.target == at} for block in found.blocks]
    dense = [block.at(0.0) for block in found.blocks]
    rows = [row for rows in (*dense, *asked) for row in rows.values()]
    several = Counter((block.model, block.dataset) for block in found.blocks)
    places = [_place(block, several) for block in found.blocks]
    sections = _sections(
        [row for row in rows if row.target], lambda some: [*_across(some, asked), _mean_rank(some, asked)]
    )
    top = [[Cell(_name([row])), *_across([row], dense), DASH] for row in _firsts(dense)]
    ranks = "The last column is the mean rank over the models; in brackets, over how many if not all."
    notes = [*_protocols(found), *_legend(rows), ranks]
    title = f"Accuracy (%) at a sparsity of {_percent(at)}"
    label = f"{found.suites} models at {at:g}"
    yield _table(found, _Texts(title, label, notes), ["method", *places, "mean rank"], [top, *sections])


def _by_cost(found: _Found) -> Iterator[PaperTable]:
    """A table per block at one sparsity: accuracy and what it cost."""
    _sparsity(found.wanted.at, found.blocks)
    for block in found.blocks:
        if found.wanted.at is not None and not _has(block, found.wanted.at):
            continue
        at = _sparsity(found.wanted.at, [block])
        dense, rows = block.at(0.0), block.at(at) if at else {}
        shown = [*dense.values(), *rows.values()]
        reference = next((row.training_flops for row in dense.values() if not row.own_recipe), math.nan)
        unit = _unit(shown)
        top = [_cost_row(row, reference, unit) for row in dense.values()]
        sections = _sections(
            list(rows.values()),
            lambda some, basis=(reference, unit): _cost_row(some[0], *basis)[1:],  # type: ignore[misc]
        )
        header = [*COST_HEADER, f"size\n({UNITS[unit]})"]
        title = f"Costs of {block.where} at a sparsity of {_percent(at)}"
        notes = [_protocol(found, block), *_legend(shown), COST_NOTE]
        label = f"{found.suites} costs at {at:g} {block.name}"
        yield _table(found, _Texts(title, label, notes), header, [top, *sections])


COST_HEADER = [
    "method",
    "accuracy\n(%)",
    "difference\nto dense",
    "effective\nsparsity\n(%)",
    "training\nFLOPs\n(× dense)",
    "inference\nFLOPs\n(% dense)",
    "params",
]
COST_NOTE = (
    "The difference to the dense network is in points and paired by seed, with its own interval. FLOPs are those of "
    "kept weights, of training with all search and retraining against one dense training; parameters and size are of "
    "the final network, size with a bitmap or as compressed sparse rows, whichever is smaller."
)
LAYOUTS: dict[str, Callable[[_Found], Iterator[PaperTable]]] = {
    "sparsities": _by_sparsity,
    "models": _by_model,
    "costs": _by_cost,
}


def _table(found: _Found, texts: _Texts, header: list[str], sections: list[list[Row]]) -> PaperTable:
    """A table with what its cells call for and the versions in its caption."""
    cells = [cell for section in sections for row in section for cell in row]
    legend = [
        "–: not asked for." if DASH in cells else "",
        f"{UNKNOWN}: not in the records." if any(cell.text == UNKNOWN for cell in cells) else "",
        _versions(found.results),
    ]
    caption = " ".join(filter(None, [f"{texts.title}.", *texts.notes, *legend]))
    kept = [section for section in sections if section]
    return PaperTable(texts.title, caption, escaping.slug(texts.label), header, kept)


def _sections(rows: list[Any], cells: Callable[[list[Any]], Row]) -> list[list[Row]]:
    """Pruned methods and then controls, a row each, with what `cells` makes of the rows of one."""
    methods: dict[str, list[Any]] = {}
    for row in rows:
        if row.target:
            methods.setdefault(row.method, []).append(row)
    sections: list[list[Row]] = [[], []]
    for some in methods.values():
        sections[bool(some[0].control)].append([Cell(_name(some)), *cells(some)])
    return sections


def _at_targets(rows: list[Any], targets: list[float]) -> Row:
    known = {row.target: row for row in rows}
    return [_accuracy(known[target]) if target in known else DASH for target in targets]


def _across(rows: list[Any], places: list[dict[str, Any]]) -> Row:
    method = rows[0].method
    return [_accuracy(place[method]) if method in place else DASH for place in places]


def _firsts(places: list[dict[str, Any]]) -> list[Any]:
    return list({method: row for place in reversed(places) for method, row in place.items()}.values())


def _mean_rank(rows: list[Any], places: list[dict[str, Any]]) -> Cell:
    ranks = [row.rank for row in rows if not math.isnan(row.rank) and row.place == row.target]
    if not ranks:
        return DASH
    note = f"{len(ranks)} of {len(places)}" if len(ranks) < len(places) else ""
    return Cell(f"{sum(ranks) / len(ranks):.1f}", note=note)


def _spanning(row: Any, span: int) -> Row:
    return [Cell(f"{_name([row])} (at 0%)"), dataclasses.replace(_accuracy(row), span=span)]


def _name(rows: list[Any]) -> str:
    marks = "†" * any(row.own_recipe for row in rows) + "‡" * bool(rows[0].control)
    return f"{rows[0].method} {marks}".rstrip()


def _accuracy(row: Any) -> Cell:
    """The mean, its interval and what is to be known of it; only counts where no seed finished."""
    troubles = _troubles(row)
    if not row.n:
        return Cell(troubles)
    note = "; ".join(filter(None, (_elsewhere(row.sparsity, row.target), troubles)))
    bold = bool(row.best) and row.place == row.target
    return Cell(f"{row.accuracy:.2f}", _spread(row.accuracy_upper - row.accuracy), note, bold)


def _spread(half: float) -> str:
    return "" if math.isnan(half) else f"± {half:.2f}"


def _troubles(row: Any) -> str:
    asked = row.n + sum(getattr(row, status) for status in TROUBLES)
    counts = {short: getattr(row, status) for status, short in TROUBLES.items()}
    return ", ".join(f"{count}/{asked} {short}" for short, count in counts.items() if count)


def _elsewhere(sparsity: float, target: float) -> str:
    """The sparsity, if it is not that of the column."""
    if abs(sparsity - target) < MET:
        return ""
    return f"{100 * sparsity:.{1 if sparsity < 0.99 else 2}f}%"


def _percent(share: float) -> str:
    return f"{round(100 * share, 4):g}%"


def _place(block: _Block, several: Counter[tuple[str, str]]) -> str:
    recipe = f",\n{plain(block.recipe)}" if several[block.model, block.dataset] > 1 else ""
    return f"{plain(block.model)}\non {plain(block.dataset)}{recipe}"


def _has(block: _Block, at: float) -> bool:
    return any(math.isclose(target, at, abs_tol=1e-9) for target in block.targets)


def _sparsity(at: float | None, blocks: list[_Block]) -> float:
    """The wanted sparsity, or that of most rows, the middle one of several; 0 if there are only dense rows."""
    counts = Counter(row.target for block in blocks for row in block.rows if row.target)
    known = sorted(counts)
    if at is None:
        usual = [target for target in known if counts[target] == max(counts.values())]
        return float(usual[len(usual) // 2]) if usual else 0.0
    if found := [target for target in known if math.isclose(target, at, abs_tol=1e-9)]:
        return float(found[0])
    there = ", ".join(f"{target:g}" for target in known) or "dense networks only"
    raise ValueError(f"no method was asked for a sparsity of {at:g}; there are: {there}")


def _cost_row(row: Any, training: float, unit: int) -> Row:
    """Accuracy and costs, training against that of the dense network."""
    return [
        Cell(_name([row])),
        _accuracy(row),
        _difference(row) if row.target else DASH,
        _number(100 * row.effective_sparsity),
        _number(row.training_flops / training if training else math.nan),
        _number(100 * row.inference_share),
        _number(row.parameters, 0),
        _number(_size(row) / 1000**unit, 1 if unit else 0),
    ]


def _difference(row: Any) -> Cell:
    if math.isnan(row.difference):
        return Cell(UNKNOWN)
    paired = f"n = {row.difference_n}" if row.difference_n < row.n else ""
    sign = "−" if round(row.difference, 2) < 0 else "+"
    return Cell(f"{sign}{abs(row.difference):.2f}", _spread(row.difference_upper - row.difference), paired)


def _number(value: float, decimals: int = 2) -> Cell:
    return Cell(f"{value:,.{decimals}f}" if math.isfinite(value) else UNKNOWN)


def _size(row: Any) -> float:
    """Bytes, as they are smallest; the dense network has no mask."""
    return float(min(row.bytes_bitmap, row.bytes_csr) if row.target else row.bytes_dense)


def _unit(rows: list[Any]) -> int:
    """How many thousands the largest size is divided by."""
    largest = max((size for size in map(_size, rows) if math.isfinite(size)), default=1000.0)
    return min(len(UNITS) - 1, int(math.log10(max(largest, 1)) / 3))


def _reported_rows(found: _Found, block: _Block, columns: list[float]) -> list[Row]:
    """What papers report near the sparsities of these columns, a row for each of their methods."""
    rows = published(block.dataset, block.model)
    if found.wanted.methods:
        rows = rows[rows["pruner"].isin({row.pruner for row in block.rows})]
    papers: dict[str, list[Any]] = {}
    for row in rows.itertuples():
        papers.setdefault(f"{row.method} ({citation(row)})", []).append(row)
    lines = []
    for name, numbers in papers.items():
        dense = _reported(numbers, 0.0)
        if dense != DASH:
            lines.append([Cell(f"{name}, at 0%", italic=True), dataclasses.replace(dense, span=len(columns))])
        cells = [_reported(numbers, column) for column in columns if column]
        if set(cells) - {DASH}:
            lines.append([Cell(name, italic=True), *cells])
    return lines


def _reported(numbers: list[Any], column: float) -> Cell:
    """The number nearest to a sparsity, or the range of several."""
    distance = min((_away(row, column) for row in numbers), default=math.inf)
    if distance > (NEAR if column else 0.0):
        return DASH
    nearest = [row for row in numbers if _away(row, column) == distance]
    values = sorted({row.accuracy for row in nearest})
    text = f"{values[0]:.2f}" if len(values) == 1 else f"{values[0]:.2f}–{values[-1]:.2f}"
    return Cell(text, note=_elsewhere(nearest[0].sparsity, column), italic=True)


def _away(row: Any, column: float) -> float:
    return round(abs(float(row.sparsity) - column), 6)


def _about_reported(reported: list[Row]) -> list[str]:
    if not reported:
        return []
    return [
        "In italics, with their papers, are numbers reported for the same network at sparsities within "
        f"{100 * NEAR:g} points; their protocols differ from this one and from each other, and they are not compared."
    ]


def _protocols(found: _Found) -> list[str]:
    recipes: dict[str, list[str]] = {}
    for block in found.blocks:
        words = f"{_shortened(block.recipe)}: {_recipe(found.recipe(block))}"
        recipes.setdefault(words, []).append(block.where)
    if len(recipes) == 1:
        return [f"Recipe {next(iter(recipes))}. {EVALUATION}"]
    if len(recipes) > MOST:
        return [f"There are {len(recipes)} recipes; the tables by sparsity describe them.", EVALUATION]
    return [f"Recipe of {', '.join(places)}: {words}." for words, places in recipes.items()] + [EVALUATION]


def _protocol(found: _Found, block: _Block) -> str:
    return f"Recipe {_shortened(block.recipe)}: {_recipe(found.recipe(block))}. {EVALUATION}"


EVALUATION = (
    "A validation split, the same for all, is held out of the training images; accuracy is on the test images at the "
    "last step."
)


def _recipe(fields: dict[str, Any]) -> str:
    """A recipe in words."""
    recipe = Recipe(**fields)
    nesterov = "Nesterov " * recipe.nesterov
    parts = [
        OPTIMIZERS[recipe.optimizer] + (f" with {nesterov}momentum {recipe.momentum:g}" if recipe.momentum else ""),
        f"learning rate {recipe.learning_rate:g} ({_schedule(recipe)})",
        f"{_span(recipe.duration)} at batch size {recipe.batch_size}",
        f"weight decay {recipe.weight_decay:g}" if recipe.weight_decay else "",
        f"label smoothing {recipe.label_smoothing:g}" if recipe.label_smoothing else "",
        f"crops padded by {recipe.crop} pixels" if recipe.crop else "",
        "horizontal flips" if recipe.flip else "",
        f"cutout of {recipe.cutout} pixels" if recipe.cutout else "",
        "augmentation by timm" if recipe.transforms else "",
    ]
    return ", ".join(filter(None, parts))


def _schedule(recipe: Recipe) -> str:
    warmup = "" if recipe.warmup.strip("0.itep%") == "" else f" after a warm-up of {_span(recipe.warmup)}"
    if recipe.schedule == "step":
        return f"times {recipe.factor:g} at {' and '.join(map(_span, recipe.milestones))}{warmup}"
    return f"{recipe.schedule}{warmup}"


def _span(duration: str) -> str:
    number, unit = duration.rstrip("itep%"), duration.lstrip("0123456789.")
    words = {"it": "iterations", "ep": "epochs"}
    return f"{float(number):,g}%" if unit == "%" else f"{float(number):,.6g} {words[unit]}"


def _legend(rows: list[Any]) -> list[str]:
    """What marks in the cells of these rows mean."""
    counts = [row.n for row in rows if row.n]
    return [
        *_about_seeds(counts),
        *_about_bold(rows),
        *_about_own(rows),
        *_about_troubles(rows),
        *_about_elsewhere(rows),
        *_about_controls(rows),
    ]


def _about_seeds(counts: list[int]) -> list[str]:
    if not counts:
        return ["No seed finished."]
    low, high = min(counts), max(counts)
    if high == 1:
        return ["Results are of one seed (n = 1), and have no interval."]
    n = f"n = {low}" if low == high else f"n = {low} to {high}"
    return [f"Means over seeds ({n}) ± the half-width of Student's 95% interval{', none at n = 1' * (low == 1)}."]


def _about_bold(rows: list[Any]) -> list[str]:
    if not any(row.best for row in rows):
        return []
    return ["Bold: highest mean, and all that the paired 95% interval over seeds does not tell from it."]


def _about_own(rows: list[Any]) -> list[str]:
    recipes = sorted({_shortened(row.trained_with) for row in rows if row.own_recipe})
    named = ", ".join(recipes[:MOST]) + f" and {len(recipes) - MOST} more" * (len(recipes) > MOST)
    return [f"†: trained with a recipe of its own ({named})."] if recipes else []


def _about_troubles(rows: list[Any]) -> list[str]:
    words = {status: short for status, short in TROUBLES.items() if any(getattr(row, status) for row in rows)}
    if not words:
        return []
    meanings = {"diverged": "diverged", "failed": "failed", "missing": "are missing"}
    told = ", ".join(f"{short}: so many seeds {meanings[status]}" for status, short in words.items())
    whole = "; where a seed diverged or failed, nothing is bold or ranked" if set(words) - {"missing"} else ""
    return [f"{told}; means are over the others{whole}."]


def _about_elsewhere(rows: list[Any]) -> list[str]:
    if not any(row.n and _elsewhere(row.sparsity, row.target) for row in rows):
        return []
    return ["Sparsities in brackets were measured where they differ from what was asked for."]


def _about_controls(rows: list[Any]) -> list[str]:
    if not any(row.control for row in rows):
        return []
    return ["‡: a control, which does not compete."]


def _versions(results: Results) -> str:
    counts = results.evidence.environment
    known = {name: " and ".join(map(_shortened, sorted(counts[name]))) for name in VERSIONED if counts[name]}
    return f"{', '.join(f'{name} {versions}' for name, versions in known.items())}." if known else ""


def _whole(cell: Cell, behind: str) -> str:
    """A cell as one text; `behind` is what it says already."""
    return " ".join(filter(None, (behind, cell.spread, f"({cell.note})" if cell.note else "")))


def _unspanned(row: Row) -> Row:
    """A row in which a spanning cell is repeated."""
    return [dataclasses.replace(cell, span=1) for cell in row for _ in range(cell.span)]


def _markdown(tables: list[PaperTable]) -> str:
    return "\n".join(f"{escaping.markdown(table.caption)}\n\n{_markdown_table(table)}" for table in tables)


def _markdown_table(table: PaperTable) -> str:
    lines = [
        [escaping.markdown(text) for text in table.header],
        [":--", *["--:"] * (len(table.header) - 1)],
        *([_markdown_cell(cell) for cell in _unspanned(row)] for row in table.rows),
    ]
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)


def _markdown_cell(cell: Cell) -> str:
    mark = "**" * cell.bold or "*" * cell.italic
    text = escaping.markdown(cell.text)
    return _whole(cell, f"{mark}{text}{mark}" if text else "")


def _html(tables: list[PaperTable]) -> str:
    return "\n".join(map(_html_table, tables))


def _html_table(table: PaperTable) -> str:
    header = "".join(f'<th scope="col">{escaping.html(text)}</th>' for text in table.header)
    bodies = "\n".join(f"<tbody>\n{''.join(map(_html_row, section))}</tbody>" for section in table.sections)
    caption = f"<caption>{escaping.html(table.caption)}</caption>"
    return f'<table id="tab-{table.label}">\n{caption}\n<thead>\n<tr>{header}</tr>\n</thead>\n{bodies}\n</table>\n'


def _html_row(row: Row) -> str:
    cells = "".join(map(_html_cell, row[1:]))
    return f'<tr><th scope="row" style="text-align: left">{_html_text(row[0])}</th>{cells}</tr>\n'


def _html_cell(cell: Cell) -> str:
    span, side = (f' colspan="{cell.span}"', "center") if cell.span > 1 else ("", "right")
    return f'<td{span} style="text-align: {side}">{_html_text(cell)}</td>'


def _html_text(cell: Cell) -> str:
    tag = "b" * cell.bold or "i" * cell.italic
    text = escaping.html(cell.text)
    return _whole(cell, f"<{tag}>{text}</{tag}>" if tag else text)


def _csv(tables: list[PaperTable]) -> str:
    """Tables with a line of their header, their rows and their caption; numbers are alone in their cells."""
    file = io.StringIO()
    writer = csv.writer(file, lineterminator="\n")
    for number, table in enumerate(tables):
        writer.writerows([[]] * (number > 0))
        writer.writerows(_csv_lines(table))
        writer.writerow([escaping.csv(table.caption)])
    return file.getvalue()


def _csv_lines(table: PaperTable) -> list[list[str]]:
    rows = [_unspanned(row) for row in table.rows]
    columns = [_csv_column(*column) for column in zip(table.header, *rows, strict=True)]
    return [[text for part in parts for text in part] for parts in zip(*columns, strict=True)]


def _csv_column(header: str, *cells: Cell) -> list[list[str]]:
    """A column as several, for what stands behind its numbers."""
    behind = {
        "±": [cell.spread.removeprefix("± ") for cell in cells],
        "best": ["best" * cell.bold for cell in cells],
        "note": [escaping.csv(cell.note) for cell in cells],
    }
    parts = [[escaping.csv(header), *map(_csv_text, cells)]]
    parts += [[escaping.csv(f"{header} {name}"), *texts] for name, texts in behind.items() if any(texts)]
    return [list(line) for line in zip(*parts, strict=True)]


def _csv_text(cell: Cell) -> str:
    return cell.text.replace(",", "").replace("−", "-") if cell.is_number else escaping.csv(cell.text)


@dataclass(frozen=True)
class _Style:
    """A size of LaTeX in a document of 10 points; the unit is the point."""

    command: str
    em: float
    line: float
    separation: float
    narrowest: float  # the width that names are given before they are set any smaller


STYLES = (
    _Style(r"\normalsize", 10, 12, 6, 110),
    _Style(r"\small", 9.25, 11, 4, 105),
    _Style(r"\footnotesize", 8.5, 9.5, 3, 95),
    _Style(r"\scriptsize", 7.97, 8, 2.5, 45),
)
WIDTH, HEIGHT = 344.0, 545.0  # of the text of the class article; those of conferences are no narrower
FLOATS = 30  # tables between page breaks: LaTeX keeps no more than 52 until it has a page for them
CAPTION_LINE = 74  # characters
LONGEST = 26.0  # em of a name; longer ones lose their middle
LINE, HYPHENATED = 15, 20  # characters of a header, and of a word
SCRIPT = 7.97  # the em of notes
PLUS_MINUS, THIN = 1.12, 0.17  # em
WIDTHS = {" ijl.,;:'!|-": 0.31, "ftrs()[]I": 0.4, "0123456789acegoz_/": 0.5, "bdhknpquvxyJ": 0.56}  # em
PREAMBLE = r"% In the preamble: \usepackage{booktabs}; no other package is needed."


@dataclass(frozen=True)
class _Page:
    """A part of a table that fits a page, and how it is set; `room` is the width of names that are broken."""

    header: list[str]
    sections: list[list[Row]]
    style: _Style
    room: float | None

    @cached_property
    def double(self) -> list[bool]:
        """Which columns are two, because something stands behind the numbers."""
        columns = range(1, len(self.header))
        rows = [row for section in self.sections for row in section if len(row) == len(self.header)]
        return [any(row[j].span == 1 and (row[j].spread or row[j].note) for row in rows) for j in columns]


def _latex(tables: list[PaperTable]) -> str:
    pages = [_latex_page(table, page, number) for table in tables for number, page in enumerate(_pages(table))]
    groups = ["\n".join(pages[start : start + FLOATS]) for start in range(0, len(pages), FLOATS)]
    return f"{PREAMBLE}\n" + "\n\\clearpage\n".join(groups)


def _latex_page(table: PaperTable, page: _Page, number: int) -> str:
    """A floating table; the second and later pages of one refer to the first."""
    caption, title, label = escaping.latex(table.caption), escaping.latex(table.title), f"tab:{table.label}"
    first = f"\\caption[{{{title}}}]{{{caption}}}\n\\label{{{label}}}"
    lines = [
        r"\begin{table}",
        r"\centering",
        f"Table~\\ref{{{label}}}, continued\\par" if number else first,
        rf"\smallskip{page.style.command}\setlength{{\tabcolsep}}{{{page.style.separation:g}pt}}",
        _tabular(page),
        r"\end{table}",
    ]
    return "\n".join(lines) + "\n"


def _tabular(page: _Page) -> str:
    name = "l" if page.room is None else f"p{{{page.room:.0f}pt}}"
    columns = "".join("r@{}l" if double else "r" for double in page.double)
    rules = "\n\\midrule\n".join("\n".join(_latex_row(row, page) for row in section) for section in page.sections)
    head = " & ".join([_latex_head(page.header[0], "l"), *map(_latex_heads, page.header[1:], page.double)])
    return "\n".join(
        [
            f"\\begin{{tabular}}{{@{{}}{name}{columns}@{{}}}}",
            "\\toprule",
            f"{head} \\\\",
            "\\midrule",
            rules,
            "\\bottomrule",
            "\\end{tabular}",
        ]
    )


def _latex_heads(text: str, double: bool) -> str:
    return f"\\multicolumn{{2}}{{c}}{{{_latex_head(text, 'c')}}}" if double else _latex_head(text, "r")


def _latex_head(text: str, side: str) -> str:
    lines = [escaping.latex(line) for line in _head_lines(text)]
    if len(lines) < 2:
        return "".join(lines)
    joined = r" \\ ".join(lines)
    return rf"\begin{{tabular}}[b]{{@{{}}{side}@{{}}}}{joined}\end{{tabular}}"


def _head_lines(text: str) -> list[str]:
    return [part for line in text.split("\n") for part in textwrap.wrap(_shortened(line), LINE)]


def _latex_row(row: Row, page: _Page) -> str:
    cells = [_latex_name(row[0], page)]
    if row[1].span > 1:
        physical = len(page.double) + sum(page.double)
        cells.append(f"\\multicolumn{{{physical}}}{{c}}{{{_latex_text(row[1])}{_latex_behind(row[1], 0)}}}")
    else:
        widths = [max(len(row[j + 1].spread) for row in _plain_rows(page)) for j in range(len(page.double))]
        cells += map(_latex_cell, row[1:], page.double, widths)
    return f"{' & '.join(cells)} \\\\"


def _plain_rows(page: _Page) -> list[Row]:
    return [row for section in page.sections for row in section if len(row) == len(page.header)]


def _latex_cell(cell: Cell, double: bool, width: int) -> str:
    text = _latex_text(cell)
    if not cell.is_number:
        return f"\\multicolumn{{{1 + double}}}{{c}}{{{text}{_latex_behind(cell, 0)}}}"
    return f"{text} & {_latex_behind(cell, width)}" if double else text


def _latex_text(cell: Cell) -> str:
    text = escaping.latex(cell.text)
    return f"\\textbf{{{text}}}" if cell.bold else f"\\textit{{{text}}}" if cell.italic else text


def _latex_behind(cell: Cell, width: int) -> str:
    """The interval, as wide as others of its column, and the note."""
    digits = "0" * (width - len(cell.spread))
    phantom = f"\\phantom{{{digits}}}" if digits and cell.spread else ""
    spread = f"$\\,\\pm\\,${phantom}{cell.spread.removeprefix('± ')}" if cell.spread else ""
    return spread + (f"\\,{{\\scriptsize({escaping.latex(cell.note)})}}" if cell.note else "")


def _latex_name(cell: Cell, page: _Page) -> str:
    name = _shortened(cell.text)
    if page.room is None:
        return _latex_text(dataclasses.replace(cell, text=name))
    words = " ".join(_breakable(word, page.room / page.style.em) for word in name.split())
    words = re.sub(r" (?=\$\\d?dagger\$)", "~", words)
    return r"\raggedright\hangindent=1em\hspace{0pt}" + (rf"\textit{{{words}}}" if cell.italic else words)


def _breakable(word: str, room: float) -> str:
    """A word that may be broken anywhere if a line of so many em cannot hold it and TeX would not hyphenate it."""
    if 1.1 * _width(word) < room - 1 or (word.isascii() and word.isalpha() and len(word) < HYPHENATED):
        return escaping.latex(word)
    return "\\allowbreak ".join(map(escaping.latex, word))


def _shortened(text: str) -> str:
    """A text without its middle, if it is long."""
    text = plain(text)
    if _width(text) <= LONGEST:
        return text
    return f"{_beginning(text)}…{_beginning(text[::-1])[::-1]}"


def _beginning(text: str) -> str:
    width = 0.0
    for end, character in enumerate(text):
        width += _character_width(character)
        if width > LONGEST / 2:
            return text[:end]
    return text


def _width(text: str) -> float:
    """About how wide Computer Modern sets a text, in em."""
    return sum(map(_character_width, text))


@cache
def _character_width(character: str) -> float:
    if not character.isascii():
        return 4.4 if "U+" in escaping.latex(character) else 0.8
    return next((width for characters, width in WIDTHS.items() if character in characters), 0.8)


def _pages(table: PaperTable) -> Iterator[_Page]:
    """The parts of a table that fit on pages, by columns and then by rows, all in one style."""
    caption = len(table.caption) / CAPTION_LINE * 12 + 25
    parts = list(_narrowed(table))
    style = max((_fitting(*part, caption) for part in parts), key=STYLES.index)
    for header, sections in parts:
        room = _room(header, sections, style)
        for lower in _lowered(sections, HEIGHT - caption - 4 * style.line, style, room):
            yield _Page(header, lower, style, room)


def _narrowed(table: PaperTable) -> Iterator[tuple[list[str], list[list[Row]]]]:
    """The columns of a table in as many parts as it takes for each to fit."""
    columns = list(range(1, len(table.header)))
    while columns:
        count = 1
        while count < len(columns) and _is_narrow(*_taken(table, columns[: count + 1]), STYLES[-1]):
            count += 1
        yield _taken(table, columns[:count])
        columns = columns[count:]


def _taken(table: PaperTable, columns: list[int]) -> tuple[list[str], list[list[Row]]]:
    sections = [[_row_taken(row, columns) for row in section] for section in table.sections]
    return [table.header[0], *(table.header[j] for j in columns)], sections


def _row_taken(row: Row, columns: list[int]) -> Row:
    if row[1].span > 1:
        return [row[0], dataclasses.replace(row[1], span=len(columns))]
    return [row[0], *(row[j] for j in columns)]


def _fitting(header: list[str], sections: list[list[Row]], caption: float) -> _Style:
    """The largest style in which a table fits a page, else the largest in which it is narrow enough."""
    narrow = [style for style in STYLES if _is_narrow(header, sections, style)]
    low = [style for style in narrow if caption + _height(sections, style, _room(header, sections, style)) < HEIGHT]
    return (low or narrow or STYLES[-1:])[0]


def _is_narrow(header: list[str], sections: list[list[Row]], style: _Style) -> bool:
    room = _room(header, sections, style)
    return room is None or room > style.narrowest


def _room(header: list[str], sections: list[list[Row]], style: _Style) -> float | None:
    """The width for names, if they have to be broken."""
    rows = [row for section in sections for row in section]
    names = max((style.em * _width(_shortened(row[0].text)) for row in rows), default=0.0)
    columns = [[row[j] for row in rows if len(row) == len(header)] for j in range(1, len(header))]
    widths = [_column_width(text, cells, style) for text, cells in zip(header[1:], columns, strict=True)]
    room = WIDTH - sum(widths) - 2 * style.separation * len(columns)
    return None if names < room else room


def _column_width(header: str, cells: list[Cell], style: _Style) -> float:
    """Of the widest number and the widest text behind one, or of what is set across both."""
    numbers = [cell for cell in cells if cell.is_number]
    before = max((_text_width(cell, style) for cell in numbers), default=0.0)
    behind = max((_spread_width(cell, style) for cell in numbers), default=0.0)
    behind += max((_note_width(cell, style) for cell in numbers), default=0.0)
    across = [_text_width(cell, style) + _note_width(cell, style) for cell in cells if not cell.is_number]
    return max([before + behind, *across, *(style.em * _width(line) for line in _head_lines(header))])


def _text_width(cell: Cell, style: _Style) -> float:
    return style.em * _width(cell.text) * (1.15 if cell.bold else 1.0)


def _spread_width(cell: Cell, style: _Style) -> float:
    return style.em * (PLUS_MINUS + _width(cell.spread.removeprefix("± "))) if cell.spread else 0.0


def _note_width(cell: Cell, style: _Style) -> float:
    return style.em * THIN + SCRIPT * _width(f"({cell.note})") if cell.note else 0.0


def _height(sections: list[list[Row]], style: _Style, room: float | None) -> float:
    rows = [row for section in sections for row in section]
    return sum(_row_height(row, style, room) for row in rows) + style.line * (2 + len(sections) / 2)


def _row_height(row: Row, style: _Style, room: float | None) -> float:
    if room is None:
        return style.line
    return style.line * math.ceil(1.05 * style.em * _width(_shortened(row[0].text)) / room)


def _lowered(sections: list[list[Row]], height: float, style: _Style, room: float | None) -> Iterator[list[list[Row]]]:
    """Sections in as many parts as it takes for each to be no higher, of about equal heights."""
    whole = _height(sections, style, room)
    share = whole / math.ceil(whole / max(height, HEIGHT / 4))
    part: list[list[Row]] = []
    taken = 0.0
    for section in sections:
        part.append([])
        for row in section:
            if taken >= share:
                yield [some for some in part if some]
                part, taken = [[]], 0.0
            part[-1].append(row)
            taken += _row_height(row, style, room)
    yield [some for some in part if some]


FORMATS: dict[str, Callable[[list[PaperTable]], str]] = {
    "tex": _latex,
    "md": _markdown,
    "csv": _csv,
    "html": _html,
}
