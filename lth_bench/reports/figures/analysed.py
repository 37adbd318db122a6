"""The figures of analyses, which their plugins draw."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import partial

import pandas as pd
from matplotlib.figure import Figure

from lth_bench.hashing import sha256
from lth_bench.reports import escaping
from lth_bench.reports.analyses import ShownAnalysis
from lth_bench.reports.figures.canvas import Canvas
from lth_bench.reports.figures.kept import drawing
from lth_bench.reports.figures.pictures import Picture, method_marks, unused
from lth_bench.reports.figures.sheet import Heading, headed
from lth_bench.reports.figures.style import REPORT, TEXT, Setting, in_style, wrapped
from lth_bench.results.frame import BLOCK
from lth_bench.results.leaderboard import Leaderboards, Place
from lth_bench.storage.source_hash import modules_hash

KIND = "analysis"


def pictures_of(
    analyses: Sequence[ShownAnalysis], leaderboards: Leaderboards, setting: Setting = REPORT
) -> dict[str, list[Picture]]:
    """The figures of analyses that draw some, by the label of the analysis."""
    marks, taken = method_marks(leaderboards.rows), set[str]()
    return {one.analysis.label: list(_pictures(one, Canvas("", setting, marks), taken)) for one in analyses}


def _pictures(one: ShownAnalysis, canvas: Canvas, taken: set[str]) -> Iterator[Picture]:
    if not hasattr(one.plugin, "figure"):
        return
    code = modules_hash(frozenset([type(one.plugin).__module__]))
    for title, rows in one.blocks():
        own = Canvas(f"{one.title}: {title}" if title else one.title, canvas.setting, canvas.looks)
        values = [drawing(), code, repr(one.plugin), own, rows.to_dict("split")]
        caption = f"{own.title}. {one.caption}".strip()
        stem = unused(escaping.slug(f"{KIND} {one.analysis.label} {title}"), taken)
        shows = sha256(repr(values).encode())
        yield Picture(KIND, _place(rows), stem, caption, shows, partial(_drawn, (one, rows, own), canvas.setting))


def _place(rows: pd.DataFrame) -> Place:
    dataset, model, recipe = rows[BLOCK].iloc[0]
    return dataset, model, recipe


@in_style
def _drawn(what: tuple[ShownAnalysis, pd.DataFrame, Canvas], setting: Setting) -> Figure:
    """The figure of a plugin; or its error, as the fault of one plugin must not take the report with it."""
    one, rows, canvas = what
    try:
        figure = one.plugin.figure(rows, canvas)
        if isinstance(figure, Figure):
            return figure
        fault = f"it gave {type(figure).__name__}, not a matplotlib Figure"
    except Exception as error:
        fault = f"{type(error).__name__}: {error}"
    figure, _ = headed(Heading(canvas.title, []), 6.0, setting)
    figure.text(0.02, 0.3, wrapped(f"The figure could not be drawn: {fault}", setting.room - 4), color=TEXT)
    return figure
