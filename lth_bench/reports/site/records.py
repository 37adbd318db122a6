"""The pages of records: what was asked for, what came of it, how to have it again, and who confirmed it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from msgspec import UNSET

from lth_bench.reports.numbers import (
    grouped,
    hundredths,
    percent,
    prefixed_bytes,
    ten_thousandths_percent,
    thousandths,
    time_spent,
)
from lth_bench.reports.page.listings import listed
from lth_bench.reports.page.render import command
from lth_bench.reports.site.boards import Board
from lth_bench.reports.site.sections import Fact, Section, SitePage
from lth_bench.reports.table import Column, Table
from lth_bench.storage.record import Environment, Point, Record
from lth_bench.storage.records import read_record

SURROUNDINGS = (
    *("lth_bench", "torch", "timm", "numpy", "python"),
    *("system", "device", "processor", "threads", "packages"),
)
TEST = [
    Column("network", "method", notes="marks"),
    Column("step", "step", grouped),
    Column("accuracy", "accuracy", hundredths, "In per cent."),
    Column("loss", "loss", thousandths, "Cross-entropy in nats."),
]
LAYERS = [
    Column("layer", "method", notes="marks"),
    Column("weights", "size", grouped),
    Column("left", "kept", grouped),
    Column("sparsity", "sparsity", ten_thousandths_percent),
]
POINTS = {"last": "last", "best_validation": "best on validation", "early_stop": "lowest validation loss"}


def record_pages(board: Board) -> Iterator[SitePage]:
    """A page for every record of a board that can be read."""
    rows = {row["key"]: row for row in board.frame.to_dict("records")}
    for path in board.report.results.paths:
        if path.stem in rows:
            yield _page(board, read_record(path), rows[path.stem])


def _page(board: Board, record: Record, row: Mapping[Any, Any]) -> SitePage:
    commands = [command(record.suite, record.key), f"lth-bench verify {board.name} --rerun 5"]
    return SitePage(
        f"boards/{board.name}/records/{record.key}.html",
        f"{row['method']} at {percent(record.experiment.sparsity)}, seed {record.experiment.seed}",
        f"record {record.key}",
        [
            Section("What was asked for", facts=list(_asked(record, row))),
            Section("What came of it", facts=list(_found(board, record)), tables=list(_tables(record))),
            Section("With what", facts=list(_surroundings(record.environment))),
            Section("Again", ["DIR is where the data lie."], blocks=commands),
        ],
        path=[("lth-bench", "../../../index.html"), (board.title, "../report.html")],
    )


def _asked(record: Record, row: Mapping[Any, Any]) -> Iterator[Fact]:
    experiment = record.experiment
    yield "data set", row["dataset_choice"], ""
    yield "model", row["model_choice"], ""
    yield "method", row["pruner_choice"], f"../../../pruners/{experiment.pruner.name}.html"
    if experiment.control:
        yield "control", row["control_choice"], f"../../../controls/{experiment.control.name}.html"
    yield "sparsity", percent(experiment.sparsity), ""
    if experiment.pattern:
        yield "pattern", experiment.pattern, ""
    yield "seed", str(experiment.seed), ""
    yield "recipe", f"{record.recipe}: {experiment.recipe.duration}, {experiment.recipe.optimizer}", ""


def _found(board: Board, record: Record) -> Iterator[Fact]:
    yield "status", record.status + (f": {record.error.words}" if record.error else ""), ""
    yield "confirmed", board.state(record.key), ""
    if record.sparsity:
        yield "weights left", f"{record.sparsity.kept:,} of {record.sparsity.prunable:,}", ""
        yield "measured sparsity", ten_thousandths_percent(record.sparsity.measured), ""
        if record.sparsity.effective is not None:
            yield "effective sparsity", ten_thousandths_percent(record.sparsity.effective), ""
    if record.ticket:
        yield "ticket", f"of step {record.ticket.step:,}, SHA-256 {record.ticket.sha256}", ""
    if record.data:
        yield "data, SHA-256", f"{record.data.training} (training), {record.data.test or 'no test'}", ""
    if record.timing:
        yield "time", " ".join(time_spent(record.timing.seconds)), ""
        yield "started", record.timing.started, ""
    if record.timing and record.timing.peak_memory:
        yield "peak memory", prefixed_bytes(record.timing.peak_memory), ""
    yield "all of it", f"{record.key}.json", f"{record.key}.json"


def _tables(record: Record) -> Iterator[Table]:
    if record.test:
        points = {words: getattr(record.test, name) for name, words in POINTS.items()}
        rows = [_point(words, point) for words, point in points.items() if point]
        yield listed("On the test split", TEST, rows)
    if record.sparsity:
        layers = record.sparsity.layers.items()
        found = [
            {"method": name, "size": layer.size, "kept": layer.kept, "sparsity": 1 - layer.kept / layer.size}
            for name, layer in layers
        ]
        yield listed("Layers", LAYERS, found)


def _point(words: str, point: Point) -> dict[str, Any]:
    return {"method": words, "step": point.step, "accuracy": 100 * point.accuracy, "loss": point.loss}


def _surroundings(found: Environment | None) -> Iterator[Fact]:
    for name in SURROUNDINGS:
        value = getattr(found, name, UNSET)
        if value is not UNSET:
            yield name.replace("_", "-"), str(value), f"../packages/{value}.txt" if name == "packages" else ""
    for kind, plugin in (found.plugins if found else {}).items():
        yield f"plugin of the {kind}", f"{plugin.module} of {plugin.distribution} {plugin.version}", ""
