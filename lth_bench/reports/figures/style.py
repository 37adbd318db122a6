"""The look of figures: a mark for each method, measured text, panels, and files that are the same on every run."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from functools import cache, wraps
from io import BytesIO
from pathlib import Path
from typing import Any, ParamSpec

import matplotlib.style
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.font_manager import findfont, get_font
from matplotlib.lines import Line2D

from lth_bench.reports import escaping
from lth_bench.results.arrays import Floats
from lth_bench.storage.files import publish

Arguments = ParamSpec("Arguments")

STYLE: dict[str, Any] = {
    **{"font.family": "DejaVu Sans", "font.size": 8, "axes.titlesize": 9, "legend.fontsize": 8},
    **{"axes.spines.top": False, "axes.spines.right": False, "axes.edgecolor": "0.6", "axes.linewidth": 0.8},
    **{"axes.grid": True, "axes.axisbelow": True, "grid.color": "0.92", "grid.linewidth": 0.8},
    **{"xtick.color": "0.6", "ytick.color": "0.6", "xtick.labelcolor": "0.15", "ytick.labelcolor": "0.15"},
    **{"svg.hashsalt": "lth-bench", "svg.fonttype": "none", "pdf.fonttype": 42},
}
COLOURS = ["#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#882255", "#999933"]
"""Of Okabe and Ito's and of Tol's palettes for the colour-blind."""
MARKERS = ["o", "s", "^", "D", "v", "P", "X", "<", ">"]  # 8 colours and 9 markers make 72 pairs
DENSE, OTHERS, TEXT = "0.2", "0.84", "0.15"
POINT = 1 / 72  # inches
LINE = 1.25  # height of a line of text, in em
FILES: dict[str, dict[str, Any]] = {"png": {"Software": None}, "svg": {"Date": None}, "pdf": {"CreationDate": None}}


@dataclass(frozen=True)
class Mark:
    """How a method looks in every figure; `number` identifies it in an SVG."""

    number: int
    colour: str
    marker: str

    @property
    def gid(self) -> str:
        return f"method-{self.number}"


def marks(methods: Sequence[str], dense: Collection[str]) -> dict[str, Mark]:
    """A mark for every method by its position; dense networks have no colour."""
    return {
        method: Mark(
            number, DENSE if method in dense else COLOURS[number % len(COLOURS)], MARKERS[number % len(MARKERS)]
        )
        for number, method in enumerate(methods)
    }


def in_style(draw: Callable[Arguments, Figure]) -> Callable[Arguments, Figure]:
    """Makes a function draw in our style, whatever the user's is."""

    @wraps(draw)
    def styled(*arguments: Arguments.args, **named: Arguments.kwargs) -> Figure:
        with matplotlib.style.context(["default", STYLE]):
            return draw(*arguments, **named)

    return styled


def write(figure: Figure, folder: Path, stem: str) -> list[Path]:
    """Writes a figure in every format, the same bytes on every run."""
    _distinct_ids(figure)
    paths = [folder / f"{stem}.{kind}" for kind in FILES]
    with matplotlib.style.context(["default", STYLE]):
        for path, (kind, metadata) in zip(paths, FILES.items(), strict=True):
            content = BytesIO()
            figure.savefig(content, format=kind, dpi=140, metadata=metadata)
            publish(path, content.getvalue())
    return paths


def _distinct_ids(figure: Figure) -> None:
    """The first artist of a method has the id `method-N`, the others `method-N-2` and so on."""
    seen: Counter[str] = Counter()
    for artist in dict.fromkeys(figure.findobj(lambda artist: bool(artist.get_gid()))):
        gid = str(artist.get_gid())
        seen[gid] += 1
        if seen[gid] > 1:
            artist.set_gid(f"{gid}-{seen[gid]}")


@cache
def _advance(character: str) -> float:
    font = get_font(findfont("DejaVu Sans"))
    font.set_size(10, 72)
    return float(font.load_char(ord(character)).linearHoriAdvance) / 65536 / 10


def width(text: str) -> float:
    """The width of a text's longest line in matplotlib, in em, with 3 % to spare for the hinting of small letters."""
    return 1.03 * max(sum(map(_advance, line)) for line in text.replace(r"\$", "$").split("\n"))


def wrapped(text: str, room: float) -> str:
    """The text, fit for matplotlib, in lines of at most `room` em."""
    lines = [""]
    for word in escaping.figure(text).replace(r"\$", "$").split(" "):
        for part in _pieces(word, room):
            longer = f"{lines[-1]} {part}" if lines[-1] else part
            lines[-1:] = [longer] if width(longer) <= room else [lines[-1], part]
    return "\n".join(line for line in lines if line).replace("$", r"\$") or " "


def _pieces(word: str, room: float) -> list[str]:
    if width(word) <= room:
        return [word]
    count = math.ceil(width(word) / room * 1.2)
    size = math.ceil(len(word) / count)
    return [word[start : start + size] for start in range(0, len(word), size)]


def spread(targets: Floats, heights: Floats, room: float) -> Floats:
    """Places near the targets where things of these heights do not overlap, inside the room if it is large enough."""
    order = np.argsort(targets, kind="stable")
    ordered = heights[order]
    feet = np.cumsum(ordered) - ordered / 2
    over = targets[order] - feet
    upwards, downwards = np.maximum.accumulate(over), np.minimum.accumulate(over[::-1])[::-1]
    places = np.empty_like(feet)
    places[order] = feet + np.maximum(0, np.minimum((upwards + downwards) / 2, room - heights.sum()))
    return places


@dataclass(frozen=True)
class Sheet:
    """A grid of panels: its columns, and the inches of a panel and of the margins around it."""

    columns: int
    width: float
    height: float
    left: float = 0.62
    right: float = 0.2
    bottom: float = 0.5
    top: float = 0.22
    foot: float = 0.0


def panels(count: int, sheet: Sheet, title: str, key: list[Line2D]) -> tuple[Figure, list[Axes]]:
    """A figure of so many panels, row by row, with its title and a key below the title."""
    rows = math.ceil(count / sheet.columns)
    cell = (sheet.left + sheet.width + sheet.right, sheet.top + sheet.height + sheet.bottom)
    head = 0.34 + 0.22 * bool(key)
    size = (sheet.columns * cell[0], head + rows * cell[1] + sheet.foot)
    figure = Figure(figsize=size)
    corners = [divmod(place, sheet.columns) for place in range(count)]
    boxes = [(column * cell[0] + sheet.left, size[1] - head - row * cell[1] - sheet.top) for row, column in corners]
    axes = [
        figure.add_axes((x / size[0], (y - sheet.height) / size[1], sheet.width / size[0], sheet.height / size[1]))
        for x, y in boxes
    ]
    fitting = min(11.0, (size[0] - 0.2) / POINT / max(width(title), 1.0))
    figure.text(0.1 / size[0], 1 - 0.08 / size[1], title, size=fitting, va="top", color=TEXT)
    if key:
        place = (0.02 / size[0], 1 - 0.27 / size[1])
        figure.legend(handles=key, loc="upper left", bbox_to_anchor=place, ncols=len(key), frameon=False, borderpad=0.2)
    return figure, axes
