"""What an analysis found, as tables for papers."""

from __future__ import annotations

from dataclasses import replace

from lth_bench.reports.analyses import asked, tables
from lth_bench.reports.paper.choices import TableChoices
from lth_bench.reports.paper.comparison import asked_sparsity, compared
from lth_bench.reports.table import Table
from lth_bench.results.analyses import analyses
from lth_bench.results.frame import Results


def tables_of(results: Results, choices: TableChoices) -> list[Table]:
    """The tables of the chosen analysis, of the chosen methods at the chosen sparsities under their new names.

    Raises ValueError for what is not there.
    """
    frame = compared(results, choices).results.frame
    known = sorted(set(frame["asked"]))
    if wanted := [asked_sparsity(text, known) for text in filter(None, map(str.strip, choices.at.split(",")))]:
        frame = frame[frame["asked"].isin(wanted)].reset_index(drop=True)
    found = asked(analyses(replace(results, frame=frame)), choices.analysis)
    return [table for one in found for table in tables(one)]
