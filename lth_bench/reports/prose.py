"""The Markdown report of a run directory, section by section."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence

import pandas as pd

from lth_bench.reports import averages, latencies, numbers
from lth_bench.reports.columns import numbers as all_numbers
from lth_bench.reports.escaping import markdown
from lth_bench.reports.formats.markdown import bare
from lth_bench.reports.leaderboards import formatted, marks, verdict_sentence
from lth_bench.reports.methods import described
from lth_bench.reports.suites import SuiteText
from lth_bench.reports.table import Column, listing
from lth_bench.results.averages import averaged
from lth_bench.results.evidence import Evidence
from lth_bench.results.frame import Results, rows_of
from lth_bench.results.latencies import latencies as measured_latencies
from lth_bench.results.leaderboard import Leaderboards
from lth_bench.results.ordering import overall
from lth_bench.results.verdicts import badges

COSTS_NOTE = (
    "FLOPs are 2 × MACs. Those of training count the search and all rounds, at the sparsity that held (sparse) or as "
    "dense matrices compute them (dense), as a multiple of one dense training; those of inference are of one image, as "
    "a share of the dense network's. A theoretical speed-up is what these alone would allow; measured is the latency "
    "of one image through the network as it was evaluated, with dense kernels. Bytes are of 4-byte numbers, in the "
    "smallest of dense, bitmap and CSR form. Effective sparsity does not count weights on no path from input to "
    "output. A control is charged for what it does itself, from its ticket on, not for the search that found it."
)
CHECKS_NOTE = (
    "Means over the sparsities that both have, with the paired 95 % interval over seeds; unclear: it contains 0. Not "
    "comparable: the control trained what its method did not, or without the method's own loss."
)
OVERALL_NOTE = (
    "A cell is one sparsity of one leaderboard. Methods of which a seed failed, diverged or is missing are not ranked "
    "there."
)
EARLY_STOP_NOTE = (
    "The early-stop step is that of the lowest validation loss since the last rewind under the final mask; it is "
    "censored where that is the last step."
)
ALONE_NOTE = "Where the dense network is not trained, FLOPs of training are no multiples but the FLOPs themselves."
METHOD = Column("method", "method", notes="marks")
STANDING = [
    Column("method", "method"),
    Column("mean rank", "mean_rank", numbers.hundredths, interval=True),
    Column("improvability (%)", "improvability", numbers.hundredths, interval=True),
    Column("Elo", "elo", numbers.whole, interval=True),
    Column("best or near it in", "best_in"),
    Column("ranked in", "ranked_in"),
    Column("leaderboards", "leaderboards"),
]
METHODS = [
    Column("method", "method"),
    Column("family", "family"),
    Column("pruner", "pruner"),
    Column("control", "control"),
    Column("recipe", "recipes"),
    Column("paper", "paper"),
]
TICKETS = [
    Column("sparsity", "sparsity", numbers.percentage),
    Column("winning ticket", "verdict"),
    Column("because", "why"),
]
CHECKS = [
    Column("question", "question"),
    Column("answer", "verdict"),
    Column("method − control (points)", "difference", numbers.signed, interval=True),
    Column("seeds", "n"),
]
COSTS = [
    Column("sparsity", "sparsity", numbers.percentage),
    Column("effective", "effective_sparsity", numbers.percentage),
    Column("empty layers", "collapsed_layers", numbers.three_digits),
    Column("training FLOPs, sparse", "training_ratio", numbers.times_apart),
    Column("dense", "training_dense_ratio", numbers.times_apart),
    Column("training FLOPs", "training_alone", numbers.prefixed),
    Column("steps", "steps", numbers.grouped),
    Column("inference FLOPs", "inference_share", numbers.tenths_percent),
    Column("theoretical speed-up", "theoretical_speedup", numbers.times_apart),
    Column("measured latency", "latency", numbers.hundredths_of_milliseconds),
    Column("bytes", "least_bytes", numbers.grouped),
    Column("seconds", "seconds", numbers.grouped_tenths),
]
EARLY_STOP = [
    Column("sparsity", "sparsity", numbers.percentage),
    Column("early-stop step", "early_stop_step", numbers.grouped),
    Column("test accuracy there", "early_stop_accuracy", numbers.hundredths),
    Column("at best validation", "best_validation_accuracy", numbers.hundredths),
    Column("at the last step", "accuracy", numbers.hundredths),
    Column("censored", "censored_of"),
]


def report(
    results: Results,
    leaderboards: Leaderboards,
    suites: Sequence[SuiteText],
    figures: Sequence[tuple[str, str]],
    further: Sequence[str] = (),
) -> str:
    """The report as Markdown; `figures` are pairs of file stem and caption, `further` more parts."""
    rows = all_numbers(leaderboards).assign(**leaderboards.relative_costs())
    parts = [
        f"# Report: {markdown(', '.join(suite.title for suite in suites))}",
        *(markdown(suite.description) for suite in suites if suite.description),
        "## Accuracy",
        formatted(leaderboards, "md").strip("\n"),
        *_overall(leaderboards),
        "## Figures",
        *(f"![{stem}]({stem}.png)\n\n{markdown(caption)}" for stem, caption in figures),
        *_methods(results, leaderboards),
        "## Winning tickets",
        *_tickets(leaderboards, rows),
        *_checks(leaderboards),
        "## Costs",
        *_costs(leaderboards, rows),
        *_speed(results),
        *further,
        *_early_stop(leaderboards, rows),
        *_troubles(results.evidence),
        "## What this rests on",
        _evidence(results),
    ]
    return "\n\n".join(parts) + "\n"


def _listed(leaderboards: Leaderboards, columns: list[Column], rows: pd.DataFrame) -> str:
    """A table whose rows are named by method, and by leaderboard if there are several."""
    names = leaderboards.names()
    place = [Column("leaderboard", "board")] if len(names) > 1 else []
    records = [
        {"marks": marks(row), "board": names[row["dataset"], row["model"], row["recipe"]], **row}
        for row in rows_of(rows)
    ]
    return bare(listing("", [*place, METHOD, *columns], records))


def _overall(leaderboards: Leaderboards) -> list[str]:
    """Methods over all leaderboards, where there are several."""
    if len(list(leaderboards.blocks())) < 2:
        return []
    found = averaged(leaderboards)
    rows = overall(leaderboards, found)
    best = [f"{row['best']} of {row['cells']} cells" for row in rows_of(rows)]
    ranked = [f"{row['cells']} of {row['asked']} cells" for row in rows_of(rows)]
    table = listing("", STANDING, rows_of(rows.assign(best_in=best, ranked_in=ranked)))
    notes = markdown(" ".join([OVERALL_NOTE, *averages.sentences(found, leaderboards.names())]))
    return ["## Over all leaderboards", bare(table), notes]


def _methods(results: Results, leaderboards: Leaderboards) -> Iterator[str]:
    """What stands behind the names of methods."""
    records = described(results, leaderboards)
    papers = [f"{record['paper']} {record['link']}".strip() for record in records]
    yield "## Methods"
    yield bare(listing("", METHODS, [{**record, "paper": text} for record, text in zip(records, papers, strict=True)]))


def _tickets(leaderboards: Leaderboards, rows: pd.DataFrame) -> Iterator[str]:
    yield verdict_sentence()
    shown = rows[(rows["verdict"] != "") & (rows["verdict"] != "fails")]
    failed = int((rows["verdict"] == "fails").sum())
    rest = f"{failed} others fail; leaderboard.csv says of each why." if failed else ""
    if not leaderboards.rows.loc[~leaderboards.rows["has_sequel"], "last_step"].any():
        yield "Here no method trains, so there are no tickets to judge."
    elif shown.empty:
        yield f"No ticket wins. {rest}"
    else:
        yield f"{_listed(leaderboards, TICKETS, shown)}\n\n{rest}".strip("\n")


def _checks(leaderboards: Leaderboards) -> list[str]:
    rows = badges(leaderboards).rename(columns={"lower": "difference_lower", "upper": "difference_upper"})
    if rows.empty:
        return []
    return ["## Sanity checks", _listed(leaderboards, CHECKS, rows.assign(own_recipe=False)), CHECKS_NOTE]


def _costs(leaderboards: Leaderboards, rows: pd.DataFrame) -> list[str]:
    least = rows[["bytes_dense", "bytes_bitmap", "bytes_csr"]].min(axis=1, skipna=False)
    note = f"{COSTS_NOTE} {ALONE_NOTE}" if rows["training_alone"].notna().any() else COSTS_NOTE
    return [_listed(leaderboards, COSTS, rows.assign(least_bytes=least)[rows["n"] > 0]), note]


def _speed(results: Results) -> list[str]:
    """Measured speed-ups next to theoretical ones, where `lth-bench latency` has measured."""
    table = measured_latencies(results)
    return [] if table.empty else ["## Measured speed", latencies.formatted(table, "md").strip("\n")]


def _early_stop(leaderboards: Leaderboards, rows: pd.DataFrame) -> list[str]:
    """Early-stop steps and accuracies of the methods that were measured before the end of training."""
    shown = rows[(rows["n"] > 0) & (rows["censored"] < rows["n"])]
    if shown["early_stop_step"].isna().all():
        return []
    words = [f"{row['censored']} of {row['n']}" for row in rows_of(shown)]
    table = _listed(leaderboards, EARLY_STOP, shown.assign(censored_of=words))
    return ["## Early stopping", table, EARLY_STOP_NOTE]


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
    if results.superseded:
        lines.append(f"- of earlier revisions, and not shown: {results.superseded} experiments")
    if evidence.charged:
        lines.append(
            f"- steps of training computed: {evidence.computed:,} of the {evidence.charged:,} that the experiments "
            f"would need on their own ({evidence.computed / evidence.charged:.0%})"
        )
    return "\n".join([*lines, f"- time in workers: {' '.join(numbers.time_spent(evidence.seconds))}"])
