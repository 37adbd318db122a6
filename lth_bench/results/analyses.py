"""What analyses found of the experiments of a table, from their records."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from lth_bench.errors import FileFault
from lth_bench.experiments.choices import label
from lth_bench.experiments.experiment import Choice
from lth_bench.hashing import canonical
from lth_bench.results.costs import shapes, training
from lth_bench.results.frame import BLOCK, Results, rows_of
from lth_bench.storage.reading import names
from lth_bench.storage.record import RESERVED, AnalysisFindings, Record
from lth_bench.storage.records import analysis_path, read_record, record_paths

OTHER = {"method": "other_method", "target": "other_target", "seed": "other_seed"}
"""Columns that tell the experiment whose key is in the column `other` of a row."""


About = Mapping[str, Mapping[str, Any]]
"""The rows of experiments by key, in their order."""


@dataclass(frozen=True)
class Analysis:
    """What one analysis, with its parameters, found: its rows behind the columns that tell the experiments.

    `unsuited` counts experiments to which it does not apply, by reason; `failures` are the words of others. The work
    behind it is in seconds, and the FLOPs of what it trained at the sparsity that held.
    """

    choice: Choice
    rows: pd.DataFrame
    experiments: int
    unsuited: Counter[str]
    failures: list[str]
    seconds: float
    training_flops: float

    @property
    def label(self) -> str:
        """The name, with the parameters that differ from their default."""
        return label(self.choice)


def analyses(results: Results) -> list[Analysis]:
    """What analyses found of the experiments of these results, of each analysis by its newest revision.

    Records of a ticket that its experiment no longer has are left out; the evidence has what is wrong with others.
    """
    records = _current(results, _found(results))
    newest: dict[str, int] = {}
    for record in records:
        choice = _choice(record)
        newest[choice.name] = max(choice.revision, newest.get(choice.name, 0))
    parts: dict[str, list[Record]] = {}
    for record in records:
        if (choice := _choice(record)).revision == newest[choice.name]:
            parts.setdefault(canonical([choice.name, choice.arguments]), []).append(record)
    about = {row["key"]: row for row in rows_of(results.frame)}
    return [_analysis(parts[name], about) for name in sorted(parts)]


def _found(results: Results) -> Iterator[Record]:
    for directory in results.directories:
        for name in names(directory / "analyses"):
            folder = analysis_path(directory, name)
            yield from _readable(record_paths(folder) if (folder / "records").is_dir() else [], results)


def _readable(paths: Iterable[Path], results: Results) -> Iterator[Record]:
    for path in paths:
        try:
            record = read_record(path)
        except FileFault as fault:
            results.evidence.leave_out("", f"{path.parents[1].name}, {path.name}", fault)
            continue
        if record.analysis:
            yield record


def _current(results: Results, records: Iterable[Record]) -> list[Record]:
    """The records of tickets that the experiments have, in the order of these; each once."""
    found = {record.key: record for record in records}
    if not found:
        return []
    tickets = {one.key: one.ticket.sha256 for one in results.records() if one.ticket}
    places = {key: place for place, key in enumerate(results.frame["key"])}
    current = [
        one
        for one in found.values()
        if one.analysis and one.analysis.key in places and tickets.get(one.analysis.key) == one.analysis.ticket
    ]
    return sorted(current, key=lambda one: places[one.analysis.key] if one.analysis else 0)


def _choice(record: Record) -> Choice:
    assert record.analysis is not None
    return record.analysis.choice


def _analysis(records: Sequence[Record], about: About) -> Analysis:
    done = [(record, record.findings) for record in records if record.findings]
    rows = [
        {"key": record.analysis.key, **row} for record, findings in done for row in findings.rows if record.analysis
    ]
    table = pd.DataFrame(_paired(rows, about))
    return Analysis(
        choice=_choice(records[0]),
        rows=table if len(table) else pd.DataFrame(columns=[*RESERVED]),
        experiments=sum(bool(findings.rows) for _, findings in done),
        unsuited=Counter(findings.reason for _, findings in done if findings.reason),
        failures=[f"{record.label}: {record.error.words}" for record in records if record.error],
        seconds=sum(record.timing.seconds for record in records if record.timing),
        training_flops=sum(_flops(findings) for _, findings in done),
    )


def _experiment(row: Mapping[str, Any]) -> dict[str, Any]:
    """The columns that tell an experiment."""
    return {name: row["asked" if name == "target" else name] for name in RESERVED}


def _paired(rows: Iterable[dict[str, Any]], about: About) -> Iterator[dict[str, Any]]:
    """The rows with the columns that tell their experiments, without those about one that is not shown.

    Of a pair, the experiment whose method comes first has the row, whoever found it, and of two records that have found
    a pair the first one counts.
    """
    places: dict[str, int] = {}
    ranks = {
        key: (places.setdefault(row["method"], len(places)), rank) for rank, (key, row) in enumerate(about.items())
    }
    owners: dict[frozenset[str], str] = {}
    for row in rows:
        finder, other = row["key"], row.get("other")
        if other is None:
            yield {**_experiment(about[finder]), **row}
        elif other in about and owners.setdefault(frozenset([finder, other]), finder) == finder:
            first, second = sorted([finder, other], key=lambda key: ranks[key])
            named = _experiment(about[second])
            others = {column: named[name] for name, column in OTHER.items()}
            yield {**_experiment(about[first]), **row, "key": first, "other": second, **others}


def _flops(findings: AnalysisFindings) -> float:
    return sum(training(shapes(work.network), work.events)[0] for work in findings.work)


def summary(rows: pd.DataFrame, labels: Sequence[str] = ()) -> pd.DataFrame:
    """Means over seeds: a row for each method, target and value of the columns that are labels or hold texts.

    `n` counts the seeds, or pairs of them.
    """
    own = [name for name in rows.columns if name not in (*RESERVED, "other", *OTHER.values())]
    texts = [name for name in own if not pd.api.types.is_numeric_dtype(rows[name])]
    pairs = [name for name in OTHER.values() if name in rows.columns and name != "other_seed"]
    keys = [*BLOCK, "method", "target", *pairs, *dict.fromkeys([*labels, *texts])]
    numbers = [name for name in own if name not in keys]
    seeds = ["seed", *(["other_seed"] if pairs else [])]
    grouped = rows.groupby(keys, sort=False, dropna=False)
    counted = grouped[seeds].apply(lambda part: len(part.drop_duplicates())).rename("n")
    return pd.concat([grouped[numbers].mean(), counted], axis="columns").reset_index()
