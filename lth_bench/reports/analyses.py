"""What analyses found, as sections of a report: words, tables, and the plugins that know how to show them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pandas as pd

from lth_bench.errors import UnknownName
from lth_bench.experiments.about import About, about
from lth_bench.experiments.choices import instantiate, label
from lth_bench.experiments.plugins import load_plugins
from lth_bench.reports import escaping, numbers
from lth_bench.reports.formats import markdown
from lth_bench.reports.table import Column, Row, Table, labelled
from lth_bench.results.analyses import Analysis, summary
from lth_bench.results.frame import BLOCK, rows_of

ABOUT = {"method": "method", "target": "target", "other_method": "and", "other_target": "at", "n": "seeds"}
"""Heads of the columns that tell whose numbers a row has."""
FORMS = {"target": numbers.percentage, "other_target": numbers.percentage, "n": numbers.whole}
LONGEST = 400  # rows of a table; the records have the others
SHOWN = 5  # failures


@dataclass(frozen=True)
class ShownAnalysis:
    """An analysis, and the instance of its plugin; None where that is not installed or takes other parameters now."""

    analysis: Analysis
    plugin: Any

    @property
    def title(self) -> str:
        """The title that the plugin states, with the parameters that differ from their default."""
        return label(self.analysis.choice, self._about.title)

    @property
    def question(self) -> str:
        """What the plugin asks of tickets."""
        return str(getattr(self.plugin, "question", ""))

    @property
    def caption(self) -> str:
        """How to read its figure and its table, and what a row of it rests on."""
        said = str(getattr(self.plugin, "caption", "")).rstrip(".")
        return f"{said}." if said else ""

    @property
    def _about(self) -> About:
        return About() if self.plugin is None else about(self.plugin)

    def blocks(self) -> Iterator[tuple[str, pd.DataFrame]]:
        """The rows by leaderboard, each with its title; all together where the plugin shows them so."""
        rows = self.analysis.rows
        if rows.empty:
            return
        if getattr(self.plugin, "spans_boards", False):
            yield "", rows
            return
        for (dataset, model, recipe), part in rows.groupby(BLOCK, sort=False):
            yield f"{model} on {dataset}, {recipe}", part.reset_index(drop=True)

    def table(self, rows: pd.DataFrame) -> pd.DataFrame:
        """The rows as the plugin sums them up, or means over seeds."""
        own = getattr(self.plugin, "table", None)
        return pd.DataFrame(own(rows)) if own else _means(self, rows)


def _means(one: ShownAnalysis, rows: pd.DataFrame) -> pd.DataFrame:
    """Means over seeds; with the leaderboard, if the rows are of several."""
    table = summary(rows, getattr(one.plugin, "labels", ()))
    return table if getattr(one.plugin, "spans_boards", False) else table.drop(columns=BLOCK)


def shown(analyses: Sequence[Analysis]) -> list[ShownAnalysis]:
    """Analyses with the plugins that found them."""
    if not analyses:
        return []
    registry = load_plugins().analyses
    return [ShownAnalysis(analysis, _instance(registry, analysis)) for analysis in analyses]


def _instance(registry: Any, analysis: Analysis) -> Any:
    try:
        return instantiate(registry, analysis.choice.name, analysis.choice.arguments)
    except (UnknownName, ValueError):
        return None


def tables(one: ShownAnalysis) -> list[Table]:
    """The tables of an analysis, one for each leaderboard."""
    return list(labelled(_table(one, title, rows) for title, rows in one.blocks()))


def asked(analyses: Sequence[Analysis], name: str) -> list[ShownAnalysis]:
    """The analyses of this name. Raises ValueError, with those that there are."""
    found = shown([one for one in analyses if name in (one.choice.name, one.label)])
    if not found:
        there = ", ".join(dict.fromkeys(one.choice.name for one in analyses)) or "none"
        raise ValueError(f"no analysis {name!r} in these results; there are: {there}; `lth-bench analyse` makes others")
    return found


def _table(one: ShownAnalysis, title: str, rows: pd.DataFrame) -> Table:
    try:
        table = one.table(rows)
    except Exception as error:  # of a plugin, whose fault must not take the report with it
        table = _means(one, rows)
        note = f"These are plain means, as its own table could not be made: {type(error).__name__}: {error}."
    else:
        note = ""
    if (left := len(table) - LONGEST) > 0:
        note = f"{note} The records have {left} rows more.".strip()
    heads = {**ABOUT, **getattr(one.plugin, "columns", {})}
    names = [*(name for name in ABOUT if name != "n"), *heads, *table.columns]
    columns = [
        _column(name, table[name], heads) for name in dict.fromkeys(names) if name in table.columns and name != "n"
    ]
    columns += [_column("n", table["n"], heads)] if "n" in table.columns else []
    body = [Row([column.cell(record) for column in columns]) for record in rows_of(table.head(LONGEST))]
    full = f"{one.title}: {title}" if title else one.title
    caption = " ".join(filter(None, [one.caption, note]))
    return Table(full, columns, [body], caption, escaping.slug(f"analysis {full}"))


def _column(name: str, values: pd.Series[Any], heads: Mapping[str, str]) -> Column:
    head = heads.get(name, name.replace("_", " "))
    if not pd.api.types.is_numeric_dtype(values) or pd.api.types.is_bool_dtype(values):
        return Column(head, name)
    return Column(head, name, FORMS.get(name, numbers.short))


def notes(one: ShownAnalysis) -> list[str]:
    """Sentences on what an analysis rests on: experiments, work, and where it does not apply or failed."""
    analysis = one.analysis
    time = " ".join(numbers.time_spent(analysis.seconds))
    flops = f", and {numbers.prefixed(analysis.training_flops)}FLOPs of training" if analysis.training_flops else ""
    said = [f"Of {analysis.experiments} experiments, in {time} of work{flops}."]
    said += [f"It does not apply to {count}: {reason}." for reason, count in analysis.unsuited.items()]
    said += [f"It failed: {escaping.shortened(words, 200)}" for words in analysis.failures[:SHOWN]]
    if len(analysis.failures) > SHOWN:
        said.append(f"It failed for {len(analysis.failures) - SHOWN} more.")
    return said


def sections(analyses: Sequence[ShownAnalysis], figures: Mapping[str, Sequence[tuple[str, str]]]) -> list[str]:
    """The parts of a Markdown report; `figures` are pairs of file stem and caption, by the label of an analysis."""
    parts = []
    for one in analyses:
        drawn = figures.get(one.analysis.label, ())
        parts += [f"## {escaping.markdown(one.title)}", escaping.markdown(one.question)]
        parts += [f"![{stem}]({stem}.png)\n\n{escaping.markdown(caption)}" for stem, caption in drawn]
        parts += [markdown.document(found).strip("\n") for found in [tables(one)] if found]
        parts.append(escaping.markdown(" ".join(notes(one))))
    return [part for part in parts if part]
