"""Pictures of decision boundaries in the plane and of the polygons dual to them; no plugin itself."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import matplotlib
import numpy as np
from matplotlib.lines import Line2D
from matplotlib.patches import Patch

from lth_bench.reports import escaping
from lth_bench.reports.figures.sheet import MARGIN, Heading, headed, placed_axes
from lth_bench.reports.figures.style import COLOURS, DENSE, TEXT
from lth_bench_plugins.last_layers import Layers, from_text

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from pandas import DataFrame

    from lth_bench.reports.figures.canvas import Canvas

SIDES = COLOURS[0], COLOURS[4]
"""The colours of a pair of classes and of their zonotopes."""
BAND = "0.9"
GRID = 201
ROOM = 0.1
"""What is left free around points and polygons, as a share of their extent."""
GAP, NAME, LINES, FOOT = 0.5, 1.6, 13.0, 3.6
"""In em: between panels, for a method's name over its row, the height of the last panels, and the room under them."""
MEASURES = {"distance": "Distance, in dense radii", "shape_distance": "Distance in shape"}


@dataclass(frozen=True)
class Grid:
    """Square panels, row by row, from `top` em over the figure's lower edge downwards."""

    figure: Figure
    canvas: Canvas
    columns: int
    top: float

    @staticmethod
    def side(canvas: Canvas, columns: int) -> float:
        """The side of a panel in em."""
        return (canvas.setting.room - 2 * MARGIN + GAP) / columns - GAP

    def panel(self, row: int, column: int) -> Axes:
        side = self.side(self.canvas, self.columns)
        lower = self.top - (row + 1) * (side + NAME)
        axes = placed_axes(self.figure, (MARGIN + column * (side + GAP), lower, side, side), self.canvas.setting)
        axes.set(xticks=[], yticks=[])
        return axes


def draw(rows: DataFrame, canvas: Canvas) -> Figure:
    """A row for each method: the plane, the dense polygon, a polygon for each target; under them, the distances."""
    shown = _shown(rows)
    methods = canvas.ordered({method for method, target in shown if target}) or list({method for method, _ in shown})
    columns = 1 + len({target for _, target in shown})
    body = (Grid.side(canvas, columns) + NAME) * len(methods) + NAME + FOOT + LINES + FOOT
    figure, head = headed(Heading(canvas.title, _key()), body, canvas.setting)
    grid = Grid(figure, canvas, columns, figure.get_size_inches()[1] / canvas.setting.em - head - NAME)
    _polygons(grid, shown, methods)
    wide = canvas.setting.room / 2 - 5.6
    for place, (column, said) in enumerate(MEASURES.items()):
        box = (4.4 + place * (wide + 5.6), FOOT, wide, LINES)
        axes = placed_axes(figure, box, canvas.setting)
        _distances(axes, rows, methods, canvas, column)
        axes.set(xlabel="Sparsity (%)", ylabel=said, ylim=(0, None))
    return figure


def _polygons(grid: Grid, shown: dict[tuple[str, float], Any], methods: list[str]) -> None:
    targets = sorted({target for _, target in shown})
    colours = dict(zip(targets, matplotlib.colormaps["viridis"](np.linspace(0.0, 0.85, len(targets))), strict=True))
    dense = next((row for (_, target), row in shown.items() if not target), None)
    window = _window(np.vstack([from_text(row["network"]).polygon().hull for row in shown.values()]))
    for place, method in enumerate(methods):
        tickets = {target: row for (name, target), row in shown.items() if name == method}
        plane = grid.panel(place, 0)
        plane.set_title(escaping.figure(method), loc="left", fontweight="bold", color=TEXT, pad=2)
        _plane(plane, dense, tickets, colours)
        for column, target in enumerate(targets, 1):
            row = tickets.get(target) if target else dense
            axes = grid.panel(place, column)
            if not place:
                head = f"{row['sparsity']:.1%}" if row and target else f"{target:.1%}" if target else "dense"
                axes.set_title(head, color=TEXT, pad=2 + NAME * grid.canvas.setting.size)
            if row is None:
                axes.set_axis_off()
                continue
            _polygon(axes, row, dense, colours[target])
            axes.set(xlim=window[0], ylim=window[1])
            axes.text(0.04, 0.96, f"{row['accuracy']:.1%}", va="top", color=TEXT, transform=axes.transAxes)


def _shown(rows: DataFrame) -> dict[tuple[str, float], Any]:
    """By method and target, what the figure shows of the first pair of classes and the first seed."""
    own = rows[rows["network"].notna() & (rows["pair"] == rows["pair"].iloc[0])]
    own = own[own["seed"] == own["seed"].min()]
    return {(row["method"], row["target"]): row for row in own.to_dict("records")}


def _window(points: np.ndarray) -> tuple[tuple[float, float], tuple[float, float]]:
    """The limits in x and y of a square around points."""
    low, high = points.min(0), points.max(0)
    middle, half = (low + high) / 2, (0.5 + ROOM) * max((high - low).max(), 1e-9)
    return tuple((centre - half, centre + half) for centre in middle)


def _plane(axes: Axes, dense: Any, tickets: dict[float, Any], colours: dict[float, Any]) -> None:
    """The examples of both classes, and the boundaries of the dense network and of all tickets with these features.

    Features are those of the sparsest ticket: layers before the last ones give others to every network.
    """
    features = tickets[max(tickets)]["points"]
    points = np.array(json.loads(features))
    window = _window(points[:, :2])
    for label, colour in zip(tickets[max(tickets)]["pair"].split("–"), SIDES, strict=True):
        axes.plot(*points[points[:, 2] == int(label), :2].T, ".", color=colour, markersize=2, alpha=0.6)
    for target, row in tickets.items():
        if row["points"] == features:
            _line(axes, from_text(row["network"]), window, colors=[colours[target]], linewidths=0.9)
    if dense is not None and dense["points"] == features:
        _line(axes, from_text(dense["network"]), window, colors=[DENSE], linewidths=1.1, linestyles="dashed")
    axes.set(xlim=window[0], ylim=window[1])


def _line(axes: Axes, network: Layers, window: Any, **look: Any) -> None:
    """Where both outputs are equal."""
    across, upward = (np.linspace(*limits, GRID) for limits in window)
    outputs = network(np.stack(np.meshgrid(across, upward), axis=-1).reshape(-1, 2))
    lead = (outputs[:, 0] - outputs[:, 1]).reshape(GRID, GRID)
    if lead.min() < 0 < lead.max():
        axes.contour(across, upward, lead, levels=[0], **look)


def _polygon(axes: Axes, row: Any, dense: Any, colour: Any) -> None:
    """Both zonotopes, their hull, and the hull of the dense network."""
    polygon = from_text(row["network"]).polygon()
    for vertices, side in zip((polygon.first, polygon.second), SIDES, strict=True):
        axes.fill(*vertices.T, facecolor=side, edgecolor=side, alpha=0.45, linewidth=0.6)
    axes.fill(*polygon.hull.T, fill=False, edgecolor=colour, linewidth=1.2)
    if dense is not None:
        axes.fill(*from_text(dense["network"]).polygon().hull.T, fill=False, edgecolor=DENSE, linestyle=":")


def _distances(axes: Axes, rows: DataFrame, methods: list[str], canvas: Canvas, column: str) -> None:
    """Each seed and their means, by measured sparsity, and the range between dense networks of two seeds."""
    first = rows[rows["pair"] == rows["pair"].iloc[0]]
    if "other" in rows and len(between := first[first["other"].notna()][column].dropna()):
        axes.axhspan(between.min(), between.max(), color=BAND, zorder=0)
    own = first[first["network"].notna() & (first["target"] > 0)]
    for method in methods:
        part = own[own["method"] == method]
        means = part.groupby("target")[["sparsity", column]].mean()
        look = canvas.looks[method]
        axes.plot(100 * part["sparsity"], part[column], linestyle="", marker=".", color=look.colour, alpha=0.35)
        axes.plot(
            100 * means["sparsity"], means[column], color=look.colour, marker=look.marker, gid=look.gid, label=method
        )
    axes.legend(frameon=False, fontsize="small")


def _key() -> list[Any]:
    zonotopes = [
        Patch(color=colour, alpha=0.45, label=f"Z{number}") for colour, number in zip(SIDES, "₁₂", strict=True)
    ]
    return [
        *zonotopes,
        Line2D([], [], color=matplotlib.colormaps["viridis"](0.5), label="hull, and boundary, of a ticket"),
        Line2D([], [], color=DENSE, linestyle=":", label="hull of the dense network"),
        Line2D([], [], color=DENSE, linestyle="--", label="its boundary"),
        Patch(color=BAND, label="dense networks of two seeds"),
    ]
