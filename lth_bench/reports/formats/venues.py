"""Where a table or a figure is printed: the widths and heights of text that the classes of venues have."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace

POINTS = {"in": 72.27, "cm": 72.27 / 2.54, "mm": 72.27 / 25.4, "pt": 1.0}  # of TeX
NARROWEST, WIDEST = 2.0, 20.0  # inches
COLUMN = 4.2  # inches; narrower text is taken for one of two columns
HEIGHT = 600.0  # points of text on a page whose class is not known


@dataclass(frozen=True)
class Venue:
    """A place for tables, in points of TeX: `width` of the text there, `height` of a page.

    With `is_starred` a table spans both columns of a page. Where a page has two columns, no table can break across
    pages. `cites_authors` tells that citations are names with a year rather than numbers, and `is_times` that the font
    is as wide in small sizes as in large ones, which Computer Modern is not.
    """

    width: float
    height: float = HEIGHT
    has_two_columns: bool = False
    is_starred: bool = False
    cites_authors: bool = False
    is_times: bool = False


ARTICLE = Venue(345.0, 550.0)  # LaTeX's own class at 10 points
VENUES = {
    "neurips": (Venue(397.5, 650.4, cites_authors=True, is_times=True), None),
    "iclr": (Venue(397.5, 650.4, cites_authors=True, is_times=True), None),
    "icml": (Venue(234.9, 650.4, True, cites_authors=True, is_times=True), 487.8),
    "cvpr": (Venue(237.1, 641.4, True, is_times=True), 496.9),
    "ieee": (Venue(252.0, 696.0, True, is_times=True), 516.0),
}
"""What is known of venues by their names, and how wide both columns are together (None: there is one)."""


def venue(style: str, width: str, is_starred: bool) -> Venue:
    """The place for tables of a style in `VENUES` or of a width such as "3.25in".

    With neither, that of LaTeX's own class. Raises ValueError.
    """
    if style and width:
        raise ValueError(f"--width and --style {style} both set the width; give one of them")
    if not style:
        place = _of_width(inches(width), is_starred) if width else ARTICLE
        if is_starred and not width:
            raise ValueError("--star is for tables across two columns; it needs a --style or a --width")
        return place
    if style not in VENUES:
        raise ValueError(f"--style knows {', '.join(VENUES)}, not {style!r}; --width takes any width, such as 3.25in")
    one, both = VENUES[style]
    if not is_starred:
        return one
    if both is None:
        raise ValueError(f"--star is for tables across two columns, and {style} has one")
    return replace(one, width=both, is_starred=True)


def _of_width(width: float, is_starred: bool) -> Venue:
    return Venue(width * POINTS["in"], HEIGHT, is_starred or width < COLUMN, is_starred)


def inches(text: str, narrowest: float = NARROWEST, why: str = "") -> float:
    """A width in inches from a number with its unit; raises ValueError for anything else, and what is out of bounds."""
    length = re.fullmatch(r"(\d+\.?\d*|\.\d+) *([a-z]+)", text.strip())
    if not length or length[2] not in POINTS:
        raise ValueError(
            f"--width is a number with a unit ({', '.join(POINTS)}), such as 3.25in or 487pt, not {text!r}"
        )
    found = float(length[1]) * POINTS[length[2]] / POINTS["in"]
    if not narrowest <= found <= WIDEST:
        raise ValueError(f"--width is {narrowest:.3g}in to {WIDEST:g}in{why}, not {text}")
    return found
