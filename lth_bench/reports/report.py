"""Everything that is made from a run directory: tables, figures, a Markdown report and a page."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd

from lth_bench.reports.escaping import markdown
from lth_bench.reports.tables import FORMATS, MISSING, detailed, formatted, shown_name, verdict_sentence
from lth_bench.results.frame import Results, rows_of
from lth_bench.results.leaderboard import Board, board, overall
from lth_bench.results.overlap import matrices, overlaps, write_overlaps
from lth_bench.results.rows import Evidence
from lth_bench.results.verdicts import badges, verdicts
from lth_bench.storage.files import publish
from lth_bench.storage.records import suite_copy

if TYPE_CHECKING:
    from lth_bench.reports.figures.pictures import Picture

COSTS_MEAN = (
    "FLOPs are 2 × MACs. Those of training count the search and all rounds, at the sparsity that held (sparse) or as "
    "dense matrices compute them (dense), as a multiple of one dense training; those of inference are of one image, as "
    "a share of the dense network's. A theoretical speed-up is what these alone would allow; measured is the latency "
    "of one image through the network as it was evaluated, with dense kernels. Bytes are of 4-byte numbers, in the "
    "smallest of dense, bitmap and CSR form. Effective sparsity does not count weights on no path from input to "
    "output. A control is charged for what it does itself, from its ticket on, not for the search that found it."
)


@dataclass(frozen=True)
class Made:
    """What everything is made from: results, their leaderboards, and how far their masks agree."""

    results: Results
    found: Board
    overlaps: pd.DataFrame


def made(results: Results) -> Made:
    """Compares what was read; raises FileFault for tickets that are not those of their records."""
    return Made(results, board(results.frame), overlaps(results))


def write_tables(from_: Made, folder: Path) -> list[Path]:
    """Writes the leaderboard in every format, and overlaps of masks where there are any."""
    paths = [folder / f"leaderboard.{kind}" for kind in FORMATS]
    for path, kind in zip(paths, FORMATS, strict=True):
        publish(path, formatted(from_.found, kind).encode())
    return [*paths, *write_overlaps(from_.overlaps, folder)]


def write_report(from_: Made, folder: Path) -> list[Path]:
    """Writes report.md, report.html and their figures; returns the paths of these two and of the figures as PNG."""
    from lth_bench.reports.figures.pictures import pictures, save_all
    from lth_bench.reports.page.render import Content, page

    results, found = from_.results, from_.found
    drawn = pictures(results, found, matrices(from_.overlaps))
    files = save_all(drawn, folder)
    report = folder / "report.md"
    publish(report, _markdown(results, found, drawn).encode())
    figures = [
        (picture.caption, picture.kind, picture.block, (folder / f"{picture.stem}.svg").read_text(encoding="utf-8"))
        for picture in drawn
    ]
    content = Content(results, found, verdicts(found), badges(found), figures, _suites(results))
    publish(folder / "report.html", page(content).encode())
    return [report, folder / "report.html", *(paths[0] for paths in files)]


def written(directory: Path) -> list[Path]:
    """The tables, the report and the figures of a run directory if they are younger than all records, else nothing."""
    tables = [directory / f"leaderboard.{kind}" for kind in FORMATS]
    made = [path for path in (directory / "report").glob("*.*") if path.suffix in (".md", ".html", ".png")]
    paths = [*tables, *sorted(made, key=lambda path: (path.stem != "report", path.name))]
    sources = [directory / "plan.json", directory / "records", *(directory / "records").glob("*.json")]
    if not all(table.exists() for table in tables) or len(paths) == len(tables):
        return []
    oldest = min(path.stat().st_mtime for path in paths)
    return paths if oldest > max(path.stat().st_mtime for path in sources if path.exists()) else []


def _suites(results: Results) -> dict[str, str]:
    """The suite files that were run into these directories, as far as they are there."""
    wanted = {name: [suite_copy(place, name) for place in results.directories] for name in results.evidence.suites}
    found = {name: [path for path in paths if path.exists()] for name, paths in sorted(wanted.items())}
    return {name: paths[0].read_text(encoding="utf-8", errors="replace") for name, paths in found.items() if paths}


def _markdown(results: Results, found: Board, drawn: list[Picture]) -> str:
    table = detailed(found)
    parts = [
        f"# Report: {markdown(', '.join(sorted(results.evidence.suites)))}",
        "## Accuracy",
        formatted(found, "md"),
        *_overall(found),
        "## Figures",
        *(f"![{picture.stem}]({picture.stem}.png)\n\n{markdown(picture.caption)}" for picture in drawn),
        "## Winning tickets",
        _winning(found, table),
        *_checks(found),
        "## Costs",
        _costs(found, table),
        *_early_stop(found, table),
        *_troubles(results.evidence),
        "## What this rests on",
        _evidence(results),
    ]
    return "\n\n".join(part.strip("\n") for part in parts) + "\n"


def _listed(columns: dict[str, list[str]]) -> str:
    """A table without the columns of which nothing is known."""
    known = {name: cells for name, cells in columns.items() if set(cells) != {MISSING}}
    return pd.DataFrame(known).to_markdown(index=False, disable_numparse=True)


def _named(found: Board, rows: list[dict[str, Any]]) -> dict[str, list[str]]:
    """The columns that name a row."""
    names = found.names()
    places = [names[row["dataset"], row["model"], row["recipe"]] for row in rows]
    place = {"leaderboard": list(map(markdown, places))} if len(names) > 1 else {}
    return {**place, "method": [markdown(shown_name(row)) for row in rows]}


def _overall(found: Board) -> list[str]:
    """Methods over all leaderboards, where there are several."""
    if len(list(found.blocks())) < 2:
        return []
    rows = rows_of(overall(found))
    table = _listed(
        {
            "method": [markdown(row["method"]) for row in rows],
            "mean rank": [_number(row["mean_rank"], ".2f") for row in rows],
            "among the best in": [f"{row['best']} of {row['cells']} cells" for row in rows],
            "ranked in": [f"{row['cells']} of {row['asked']} cells" for row in rows],
            "leaderboards": [str(row["leaderboards"]) for row in rows],
        }
    )
    note = (
        "A cell is one sparsity of one leaderboard. Methods that were ranked in fewer cells stand below: a mean over "
        "other cells cannot be compared. Methods of which a seed failed or diverged are not ranked there."
    )
    return ["## Over all leaderboards", table, note]


def _winning(found: Board, table: pd.DataFrame) -> str:
    rows = rows_of(table[(table["verdict"] != "") & (table["verdict"] != "fails")])
    failed = int((table["verdict"] == "fails").sum())
    rest = f"{failed} others fail; leaderboard.csv says of each why." if failed else ""
    if not rows:
        return f"{verdict_sentence()}\n\nNo ticket wins. {rest}"
    shown = _listed(
        {
            **_named(found, rows),
            "sparsity": [_percent(row["sparsity"]) for row in rows],
            "winning ticket": [row["verdict"] for row in rows],
            "because": [markdown(row["why"]) for row in rows],
        }
    )
    return f"{verdict_sentence()}\n\n{shown}\n\n{rest}"


def _checks(found: Board) -> list[str]:
    rows = rows_of(badges(found))
    if not rows:
        return []
    named = _named(found, [row | {"own_recipe": False} for row in rows])
    shown = _listed(
        {
            **named,
            "question": [markdown(row["question"]) for row in rows],
            "answer": [row["verdict"] for row in rows],
            "method − control (points)": [_interval(row["difference"], row["lower"], row["upper"]) for row in rows],
            "seeds": [str(row["n"]) for row in rows],
        }
    )
    note = "Means over the sparsities that both have, with the paired 95 % interval over seeds; unclear: it contains 0."
    return ["## Sanity checks", shown, note]


def _costs(found: Board, table: pd.DataFrame) -> str:
    table = table.assign(**found.relative_costs())
    rows = rows_of(table[table["n"] > 0])
    least = [min(row["bytes_dense"], row["bytes_bitmap"], row["bytes_csr"]) for row in rows]
    shown = _listed(
        {
            **_named(found, rows),
            "sparsity": [_percent(row["sparsity"]) for row in rows],
            "effective": [_percent(row["effective_sparsity"]) for row in rows],
            "empty layers": [_number(row["collapsed_layers"], ".3g") for row in rows],
            "training FLOPs, sparse": [_times(row["training_ratio"]) for row in rows],
            "dense": [_times(row["training_dense_ratio"]) for row in rows],
            "steps": [f"{row['steps']:,.0f}" for row in rows],
            "inference FLOPs": [_percent(row["inference_share"]) for row in rows],
            "theoretical speed-up": [_times(row["theoretical_speedup"]) for row in rows],
            "measured latency": [_number(1e3 * row["latency"], ".2f", " ms") for row in rows],
            "bytes": [_number(size, ",.0f") for size in least],
            "seconds": [_number(row["seconds"], ",.1f") for row in rows],
        }
    )
    return f"{shown}\n\n{COSTS_MEAN}"


def _early_stop(found: Board, table: pd.DataFrame) -> list[str]:
    """Early-stop steps and accuracies, where training was measured more often than at its end."""
    rows = rows_of(table[(table["n"] > 0) & (table["censored"] < table["n"])])
    if not rows:
        return []
    shown = _listed(
        {
            **_named(found, rows),
            "sparsity": [_percent(row["sparsity"]) for row in rows],
            "early-stop step": [f"{row['early_stop_step']:,.0f}" for row in rows],
            "test accuracy there": [f"{row['early_stop_accuracy']:.2f}" for row in rows],
            "at best validation": [f"{row['best_validation_accuracy']:.2f}" for row in rows],
            "at the last step": [f"{row['accuracy']:.2f}" for row in rows],
            "censored": [f"{row['censored']} of {row['n']}" for row in rows],
        }
    )
    note = (
        "The early-stop step is that of the lowest validation loss since the last rewind under the final mask; it is "
        "censored where that is the last step."
    )
    return ["## Early stopping", shown, note]


def _percent(share: float) -> str:
    return _number(100 * share, ".1f", "%")


def _times(ratio: float) -> str:
    return _number(ratio, ".3g", " ×")


def _interval(mean: float, lower: float, upper: float) -> str:
    return _number(mean, "+.2f") + ("" if pd.isna(lower) else f" [{lower:+.2f}, {upper:+.2f}]")


def _number(value: float, how: str, unit: str = "") -> str:
    return MISSING if pd.isna(value) else f"{value:{how}}{unit}"


def _troubles(evidence: Evidence) -> list[str]:
    """What failed or diverged, one line each."""
    lines = [f"- `{bad.key}` {markdown(bad.label)}: {bad.status}: {markdown(bad.message)}" for bad in evidence.troubles]
    return ["## What did not finish", "\n".join(lines)] if lines else []


def _evidence(results: Results) -> str:
    """Counts, versions and machines behind the numbers."""
    evidence = results.evidence
    statuses = Counter(results.frame["status"])
    lines = [f"- experiments: {', '.join(f'{count} {name}' for name, count in sorted(statuses.items()))}"]
    lines += [f"- {name}: {markdown(', '.join(sorted(counts)))}" for name, counts in evidence.environment.items()]
    if evidence.charged:
        lines.append(
            f"- steps of training computed: {evidence.computed:,} of the {evidence.charged:,} that the experiments "
            f"would need on their own ({evidence.computed / evidence.charged:.0%})"
        )
    return "\n".join([*lines, f"- time in workers: {evidence.seconds / 60:.1f} minutes"])
