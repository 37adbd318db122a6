"""A Markdown report of a run directory: tables, figures, and what they rest on."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

import pandas as pd

from lth_bench.files import publish
from lth_bench.leaderboard import FORMATS, escaped, formatted, summary
from lth_bench.results import Results, shared


def write_tables(results: Results, folder: Path) -> list[Path]:
    """Writes the leaderboard in every format."""
    table = summary(results.frame)
    paths = [folder / f"leaderboard.{kind}" for kind in FORMATS]
    for path, kind in zip(paths, FORMATS, strict=True):
        publish(path, formatted(table, kind).encode())
    return paths


def write_report(results: Results, folder: Path) -> list[Path]:
    """Writes report.md and its figures; returns the paths, the report first."""
    from lth_bench.plots import figures  # takes seconds to import, and a run that changed nothing draws nothing

    pictures = figures(results.frame, folder)
    report = folder / "report.md"
    publish(report, _markdown(results.frame, results.records, pictures).encode())
    return [report, *pictures]


def written(directory: Path) -> list[Path]:
    """The tables, the report and the figures of a run directory if they are younger than all records, else nothing."""
    tables = [directory / f"leaderboard.{kind}" for kind in FORMATS]
    paths = [*tables, *sorted((directory / "report").glob("*.*"), key=lambda path: (path.suffix != ".md", path.name))]
    sources = [directory / "plan.json", directory / "records", *(directory / "records").glob("*.json")]
    if not all(table.exists() for table in tables) or len(paths) == len(tables):
        return []
    oldest = min(path.stat().st_mtime for path in paths)
    return paths if oldest > max(path.stat().st_mtime for path in sources if path.exists()) else []


def _markdown(frame: pd.DataFrame, records: list[dict[str, Any]], pictures: list[Path]) -> str:
    suites = ", ".join(sorted({record["suite"] for record in records}))
    table = summary(frame)
    parts = [
        f"# Report: {suites}",
        "## Accuracy",
        formatted(table, "md"),
        "## Figures",
        *(f"![{path.stem}]({path.name})" for path in pictures),
        "Points are means over seeds, bars one standard deviation; the dashed line is the dense network.",
        "## Early stopping",
        _early_stop(table),
        *_troubles(records),
        "## What this rests on",
        _evidence(frame, records),
    ]
    return "\n\n".join(part.strip("\n") for part in parts) + "\n"


def _early_stop(table: pd.DataFrame) -> str:
    """Early-stop steps and accuracies as a long table."""
    rows = table[table["n"] > 0]
    shown = pd.DataFrame(
        {
            "model": rows["model"].map(escaped),
            "data": rows["dataset"].map(escaped),
            "method": rows["method"].map(escaped),
            "sparsity": [f"{100 * value:.1f}%" for value in rows["sparsity"]],
            "early-stop step": [f"{value:,.0f}" for value in rows["early_stop_step"]],
            "test accuracy there": [f"{value:.2f}" for value in rows["early_stop_accuracy"]],
            "at best validation": [f"{value:.2f}" for value in rows["best_validation_accuracy"]],
            "at the last step": [f"{value:.2f}" for value in rows["accuracy"]],
            "censored": [f"{int(value)} of {n}" for value, n in zip(rows["censored"], rows["n"], strict=True)],
            "steps trained": [f"{value:,.0f}" for value in rows["steps"]],
        }
    )
    note = (
        "The early-stop step is that of the lowest validation loss since the last rewind under the final mask; it is "
        "censored where that is the last step. Steps trained count the search too."
    )
    return f"{shown.to_markdown(index=False, disable_numparse=True)}\n\n{note}"


def _troubles(records: list[dict[str, Any]]) -> list[str]:
    """What failed or diverged, one line each."""
    bad = [record for record in records if record["status"] != "done"]
    lines = [f"- `{r['key']}` {escaped(r['label'])}: {r['status']}: {escaped(r['error']['message'])}" for r in bad]
    return ["## What did not finish", "\n".join(lines)] if bad else []


def _evidence(frame: pd.DataFrame, records: list[dict[str, Any]]) -> str:
    """Counts, versions and machines behind the numbers."""
    statuses = Counter(frame["status"])
    lines = [f"- experiments: {', '.join(f'{count} {name}' for name, count in sorted(statuses.items()))}"]
    for name in ("lth-bench", "python", "torch", "timm", "device", "threads", "system"):
        values = Counter(str(record["environment"][name]) for record in records if "environment" in record)
        lines.append(f"- {name}: {', '.join(sorted(values))}")
    computed, charged = shared(records)
    if charged:
        lines.append(
            f"- steps of training computed: {computed:,} of the {charged:,} that the experiments would need on their "
            f"own ({computed / charged:.0%})"
        )
    seconds = sum(record["timing"]["seconds"] for record in records if "timing" in record)
    return "\n".join([*lines, f"- time in workers: {seconds / 60:.1f} minutes"])
