"""What an analysis draws its figure on: panels in the style of reports, and the mark of each method."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from lth_bench.reports import escaping
from lth_bench.reports.figures import sheet
from lth_bench.reports.figures.charts import dense_line
from lth_bench.reports.figures.sheet import Heading, Sheet
from lth_bench.reports.figures.style import Mark, Setting

HEIGHT = 14.0  # em of a panel
TICKS = 5.5  # em beside a panel for the ticks of the next one


@dataclass(frozen=True)
class Canvas:
    """The title of a figure, its setting, and how each method looks in all figures."""

    title: str
    setting: Setting
    looks: dict[str, Mark]

    def panels(
        self, titles: Sequence[str], methods: Iterable[str] = (), key: Sequence[Line2D] = (), columns: int = 2,
        height: float = HEIGHT,
    ) -> tuple[Figure, list[Axes]]:  # fmt: skip
        """A figure with a panel for each title, row by row, and above them a key of these methods and handles.

        `height` is that of a panel, in em.
        """
        columns = min(columns, len(titles))
        place = Sheet(columns, height, right=TICKS if columns > 1 else 1.4, above=5.2 if len(titles) > columns else 1.6)
        handles = [*map(self.handle, methods), *key]
        return sheet.panels(
            [escaping.figure(text) for text in titles], place, Heading(self.title, handles), self.setting
        )

    def handle(self, method: str) -> Line2D:
        """The entry of a method in a key."""
        mark = self.looks[method]
        return Line2D([], [], color=mark.colour, marker=mark.marker, label=escaping.figure(method))

    @property
    def dense(self) -> Line2D:
        """The entry of the dense network in a key."""
        return dense_line()

    def ordered(self, methods: Collection[str]) -> list[str]:
        """These methods in the order of all figures."""
        return [method for method in self.looks if method in methods]
