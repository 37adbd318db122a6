"""Tables of all numbers as CSV."""

from __future__ import annotations

from collections.abc import Sequence

import pandas as pd

from lth_bench.reports import escaping


def csv(table: pd.DataFrame, columns: Sequence[str] = ()) -> str:
    """The rows, with texts that no spreadsheet takes for formulas: of these columns, or of all that hold texts."""
    texts = columns or table.select_dtypes(["object", "string"]).columns
    safe = table.assign(**{name: table[name].map(lambda value: escaping.csv(str(value))) for name in texts})
    return safe.to_csv(index=False, float_format="%.6g", lineterminator="\n")
