"""A square of numbers: a row and a column for each method."""

from __future__ import annotations

import pandas as pd
from matplotlib.colors import Normalize
from matplotlib.figure import Figure

from lth_bench.reports import escaping
from lth_bench.reports.figures.canvas import Canvas
from lth_bench.reports.figures.heat import ANNOTATED, Heat, heat
from lth_bench.reports.numbers import hundredths


def square(canvas: Canvas, table: pd.DataFrame, label: str) -> Figure:
    """Numbers from 0 to 1 of pairs of methods, which name rows and columns; columns are numbered as rows.

    A number outside has the colour of the end that is nearer; what is not known is grey.
    """
    methods = canvas.ordered(set(table.index))
    table = table.reindex(index=methods, columns=methods)
    numbers = {method: str(number) for number, method in enumerate(methods, 1)}
    chart = Heat(
        title=canvas.title,
        values=table,
        names={method: escaping.figure(method) for method in methods},
        gids={method: canvas.looks[method].gid for method in methods},
        columns=list(numbers.values()),
        texts=table.map(lambda value: hundredths(round(value, 2) + 0.0))
        if len(methods) <= ANNOTATED
        else pd.DataFrame(),
        norm=Normalize(0.0, 1.0),
        label=label,
        ticks={tick: f"{tick:g}" for tick in (0, 0.25, 0.5, 0.75, 1)},
        parts=[("", methods)],
        crosses=pd.DataFrame(),
        numbers=numbers,
    )
    return heat(chart, canvas.setting)
