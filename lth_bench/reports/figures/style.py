"""The look of figures: their size, a mark for each method, measured text, and files that are the same on every run."""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from functools import cache, wraps
from io import BytesIO
from pathlib import Path
from typing import Any, TypeVar

import matplotlib.style
import numpy as np
from matplotlib.figure import Figure
from matplotlib.font_manager import findfont, get_font

from lth_bench.reports import escaping
from lth_bench.reports.figures.families import order
from lth_bench.storage.files import publish

Chart = TypeVar("Chart")

STYLE: dict[str, Any] = {
    **{"font.family": "DejaVu Sans", "axes.titlesize": "medium", "legend.fontsize": "medium"},
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
DOTS = 200  # an inch of a PNG
FILES: dict[str, dict[str, Any]] = {"png": {"Software": None}, "svg": {"Date": None}, "pdf": {"CreationDate": None}}


@dataclass(frozen=True)
class Setting:
    """How a figure is set: its width in inches, the size of its text in points, its title, and families in panels."""

    width: float = 7.5
    size: float = 8.0
    titled: bool = True
    grouped: bool = True

    @property
    def em(self) -> float:
        """The size of the text in inches."""
        return self.size * POINT

    @property
    def room(self) -> float:
        """The width in em."""
        return self.width / self.em


REPORT = Setting()


@dataclass(frozen=True)
class Mark:
    """How a method looks in every figure; `number` identifies it in an SVG."""

    number: int
    colour: str
    marker: str

    @property
    def gid(self) -> str:
        return f"method-{self.number}"


def marks(families: Mapping[str, str], dense: Collection[str]) -> dict[str, Mark]:
    """A mark for every method, given with its family; dense networks have no colour.

    Methods of one family follow each other in the palette, so that they differ in colour.
    """
    methods = list(families)
    places = {method: place for place, method in enumerate(sorted(methods, key=lambda name: order(families[name])))}
    return {
        method: Mark(
            number,
            DENSE if method in dense else COLOURS[places[method] % len(COLOURS)],
            MARKERS[places[method] % len(MARKERS)],
        )
        for number, method in enumerate(methods)
    }


def in_style(draw: Callable[[Chart, Setting], Figure]) -> Callable[[Chart, Setting], Figure]:
    """Makes a function draw in our style and size of text, whatever the user's are."""

    @wraps(draw)
    def styled(chart: Chart, setting: Setting) -> Figure:
        with matplotlib.style.context(["default", STYLE, {"font.size": setting.size}]):
            return draw(chart, setting)

    return styled


def content(figure: Figure, kind: str) -> bytes:
    """A figure as a file of this kind, the same bytes on every run."""
    _distinct_ids(figure)
    written = BytesIO()
    with matplotlib.style.context(["default", STYLE]):
        figure.savefig(written, format=kind, dpi=DOTS, metadata=FILES[kind])
    return written.getvalue()


def write(figure: Figure, folder: Path, stem: str) -> list[Path]:
    """Writes a figure in every format."""
    paths = [folder / f"{stem}.{kind}" for kind in FILES]
    for path, kind in zip(paths, FILES, strict=True):
        publish(path, content(figure, kind))
    return paths


def _distinct_ids(figure: Figure) -> None:
    """The first artist of a method has the id `method-N`, the others `method-N-2` and so on."""
    seen: Counter[str] = Counter()
    for artist in dict.fromkeys(figure.findobj(lambda artist: bool(artist.get_gid()))):
        gid = "-".join(str(artist.get_gid()).split("-")[:2])
        seen[gid] += 1
        artist.set_gid(f"{gid}-{seen[gid]}" if seen[gid] > 1 else gid)


@cache
def _advance(character: str) -> float:
    font = get_font(findfont("DejaVu Sans"))
    font.set_size(10, 72)
    return float(font.load_char(ord(character)).linearHoriAdvance) / 65536 / 10


def width(text: str) -> float:
    """The width of a text's longest line in matplotlib, in em, with 3 % to spare for the hinting of small letters."""
    return 1.03 * max(sum(map(_advance, line)) for line in text.replace(r"\$", "$").split("\n"))


WORDS = re.compile(r" (?!\S{1,2}$)")  # a last word of one or two letters stays with the one before it


def wrapped(text: str, room: float) -> str:
    """The text, fit for matplotlib, in lines of at most `room` em."""
    lines = [""]
    for word in WORDS.split(escaping.figure(text).replace(r"\$", "$")):
        for part in _pieces(word, room):
            longer = f"{lines[-1]} {part}" if lines[-1] else part
            lines[-1:] = [longer] if width(longer) <= room else [lines[-1], part]
    return "\n".join(line for line in lines if line).replace("$", r"\$") or " "


def height(text: str) -> float:
    """The height of a text's lines, in em."""
    return (text.count("\n") + 1) * LINE


def _pieces(word: str, room: float) -> list[str]:
    if width(word) <= room:
        return [word]
    count = math.ceil(width(word) / room * 1.2)
    size = math.ceil(len(word) / count)
    return [word[start : start + size] for start in range(0, len(word), size)]


def columns(labels: list[str], room: float) -> int:
    """How many columns a legend of these labels has, in order down the columns, in so many em."""
    for count in range(len(labels), 1, -1):
        parts = np.array_split(np.array(list(map(width, labels))), count)
        if sum(HANDLE + part.max() for part in parts) <= room:
            return count
    return 1


HANDLE = 4.9  # em of a legend's handle and of the room around it
