"""Measured latencies as tables for readers, and all their numbers for programs."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pandas as pd

from lth_bench.reports import escaping, numbers
from lth_bench.reports.formats import markdown, spreadsheet
from lth_bench.reports.table import Cell, Column, Row, Table, labelled
from lth_bench.results.frame import BLOCK, rows_of

SHOWN = 3  # tickets of which an engine has no times
FORMATS = ("md", "csv", "json")
NOTES = {"slower": ("(slower)",), "not told from dense": ("(≈ dense)",)}
CAPTION = (
    "Times are medians of one forward pass of a batch, of runs in turns with the dense network (torch, uncompiled) in "
    "one process. The speed-up is the median quotient of neighbouring runs, with its 95 % interval over "
    "rounds; (≈ dense): the interval contains 1. A theoretical speed-up is what the FLOPs of the kept weights alone "
    "would allow; the ratio is the measured one divided by it."
)
ENGINES = {
    "dense": "the dense network once more, which tells the noise",
    "thin": "without removed channels, by torch",
    "onnxruntime": "with all zeros, by ONNX Runtime",
    "onnxruntime-thin": "without removed channels, by ONNX Runtime",
    "csr": "pruned linear layers as sparse matrices, by torch",
    "2:4": "sparse tensor cores in float16, beside the dense network in float16",
}
COLUMNS = [
    Column("method", "method"),
    Column("sparsity", form=numbers.percentage),
    Column("engine"),
    Column("batch"),
    Column("threads"),
    Column("dense", form=numbers.milliseconds),
    Column("engine's", form=numbers.milliseconds),
    Column("speed-up", form=numbers.times_apart),
    Column("theoretical", form=numbers.times_apart),
    Column("ratio", form=numbers.hundredths),
]


def tables(latencies: pd.DataFrame) -> list[Table]:
    """A table for every data set, model, recipe and machine."""
    places = [*BLOCK, "processor", "device", "torch", "onnxruntime"]
    return list(labelled(_table(rows, place) for place, rows in latencies.groupby(places, sort=False)))


def _table(rows: pd.DataFrame, place: tuple[Any, ...]) -> Table:
    dataset, model, recipe, processor, device, torch, runtime = place
    software = f"torch {torch}" + (f", onnxruntime {runtime}" if runtime else "")
    title = f"{model} on {dataset}, {recipe}: {processor if device == 'cpu' else device}, {software}"
    shown = [Row(_cells(row)) for row in rows_of(rows[rows["reason"] == ""])]
    return Table(title, COLUMNS, [shown], " ".join([CAPTION, *_captions(rows)]), escaping.slug(f"latency {title}"))


def _cells(row: dict[str, Any]) -> list[Cell]:
    interval = numbers.bounds(row["speedup_lower"], row["speedup_upper"], numbers.three_digits)
    words = (row["method"], numbers.percentage(row["sparsity"]), row["engine"], row["batch"], row["threads"])
    times = (Cell(numbers.milliseconds(row[name]), value=1000 * row[name]) for name in ("dense", "latency"))
    return [
        *(Cell(str(word)) for word in words),
        *times,
        Cell(numbers.times_apart(row["speedup"]), interval, notes=NOTES.get(row["verdict"], ()), value=row["speedup"]),
        Cell(numbers.times_apart(row["theoretical_speedup"]), value=row["theoretical_speedup"]),
        Cell(numbers.hundredths(row["of_theoretical"]), value=row["of_theoretical"]),
    ]


def _captions(rows: pd.DataFrame) -> Iterator[str]:
    """What the engines are, and which have no times and why."""
    used = dict.fromkeys(rows.loc[rows["reason"] == "", "engine"])
    if told := [f"{name}: {ENGINES[name]}" for name in used if name in ENGINES]:
        yield f"Engines: {'; '.join(told)}."
    without = rows[rows["reason"] != ""]
    for (engine, reason), some in without.groupby(["engine", "reason"], sort=False):
        names = list(dict.fromkeys(f"{row['method']} {numbers.percentage(row['sparsity'])}" for row in rows_of(some)))
        whose = f"{', '.join(names[:SHOWN])}{', …' if len(names) > SHOWN else ''} ({len(names)})"
        yield f"Without times: {engine} of {whose}: {escaping.shortened(str(reason), 200)}."


def formatted(latencies: pd.DataFrame, form: str) -> str:
    """Latencies in one of `FORMATS`: "md" as tables, "csv" and "json" with all numbers, times in seconds."""
    makers: dict[str, Callable[[], str]] = {
        "md": lambda: markdown.document(tables(latencies)),
        "csv": lambda: spreadsheet.csv(latencies),
        "json": lambda: latencies.to_json(orient="records", indent=1, double_precision=10) + "\n",
    }
    return makers[form]()
