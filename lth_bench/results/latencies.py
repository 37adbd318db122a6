"""Measured latencies of tickets next to the speed-up that FLOPs would allow."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pandas as pd

from lth_bench.errors import FileFault
from lth_bench.results.frame import BLOCK, Results, rows_of
from lth_bench.storage.latency import Latencies, Latency, Quartiles, latency_paths, read_latencies
from lth_bench.storage.records import read_record

TICKET = ["key", *BLOCK, "method", "sparsity", "seed"]
"""The columns that say whose latency it is."""
COLUMNS = [
    *TICKET,
    *("engine", "batch", "threads", "processor", "device", "torch", "onnxruntime", "rounds"),
    *("dense", "dense_lower", "dense_upper", "latency", "latency_lower", "latency_upper"),
    *("speedup", "speedup_lower", "speedup_upper", "theoretical_speedup", "of_theoretical", "verdict", "reason"),
]


def latencies(results: Results) -> pd.DataFrame:
    """One row for each ticket, machine, engine and batch size that `lth-bench latency` measured; times in seconds.

    Times have quartiles, speed-ups 95 % intervals. `of_theoretical` is the measured speed-up divided by the
    theoretical one, `verdict` "faster", "slower" or "not told from dense", and `reason` says why an engine has no
    times. Latencies of a ticket that its record no longer names are left out.
    """
    rows = {row["key"]: row for row in rows_of(results.frame[results.frame["status"] == "done"])}
    records = {path.stem: path for path in results.paths}
    parts = [
        _row(rows[found.key], found, item)
        for directory in results.directories
        for found in _found(directory, results)
        if found.key in rows and _ticket(records[found.key]) == found.ticket
        for item in found.measured
    ]
    order = {key: number for number, key in enumerate(rows)}
    table = pd.DataFrame(parts, columns=COLUMNS)
    return table.sort_values("key", key=lambda keys: keys.map(order), kind="stable", ignore_index=True)


def _found(directory: Path, results: Results) -> Iterator[Latencies]:
    for path in latency_paths(directory):
        try:
            yield read_latencies(path)
        except FileFault as fault:
            results.evidence.leave_out("", path.name, fault)


def _ticket(record: Path) -> str:
    ticket = read_record(record).ticket
    return ticket.sha256 if ticket else ""


def _row(row: dict[str, Any], found: Latencies, item: Latency) -> tuple[Any, ...]:
    machine, speedup, theory = found.machine, item.speedup, row["theoretical_speedup"]
    speed = [speedup.median, speedup.lower, speedup.upper] if speedup else [float("nan")] * 3
    return (
        *(row[name] for name in TICKET),
        *(item.engine, item.batch, machine.threads, machine.processor, machine.device, machine.torch),
        *(machine.onnxruntime, item.rounds, *_times(item.dense), *_times(item.own), *speed),
        *(theory, speed[0] / theory, _verdict(*speed), item.reason),
    )


def _times(times: Quartiles | None) -> list[float]:
    return [times.median, times.lower, times.upper] if times else [float("nan")] * 3


def _verdict(speedup: float, lower: float, upper: float) -> str:
    if lower <= 1 <= upper:
        return "not told from dense"
    return "slower" if speedup < 1 else "faster" if speedup > 1 else ""
