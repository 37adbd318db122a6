"""Figures as they are printed: readable at the width of a page and of a column, and alike in all choices of methods."""

from __future__ import annotations

import dataclasses
import itertools
import re

import numpy as np
import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.collections import LineCollection
from matplotlib.text import Text
from matplotlib.transforms import Bbox

from lth_bench.experiments.about import FAMILIES
from lth_bench.reports.figures.families import panelled
from lth_bench.reports.figures.kinds import KINDS
from lth_bench.reports.figures.labels import placed
from lth_bench.reports.figures.pictures import pictures
from lth_bench.reports.figures.style import Setting, content, marks
from lth_bench.reports.report import compare
from lth_bench.results.frame import load
from lth_bench.results.overlap import matrices
from support.places import ROOT

PAGE, COLUMN = Setting(6.75, 7.0), Setting(3.25, 7.0, titled=False)
ON_A_PAGE = (
    *(
        "dense",
        "imp",
        "magnitude",
        "snip",
        "iterative_snip",
        "force",
        "grasp",
        "synflow",
        "random",
        "static",
        "set",
        "rigl",
    ),
    *(
        "gmp",
        "granet",
        "acdc",
        "variational_dropout",
        "l0",
        "dst",
        "mask_criteria",
        "supermask",
        "edge_popup",
        "lowrank",
    ),
    *("l1_filter", "taylor"),
)
"""The pruners of the figures over a page, with these controls."""
CONTROLS = ("", "shuffle", "random_layerwise", "redraw", "sign", "invert")
SIX = ["IMP", "one-shot magnitude", "SNIP", "SynFlow, revision 2", "RigL", "GMP, global"]


def board(name):
    """A committed board."""
    return compare(load(ROOT / "leaderboards" / name))


def drawn(report, setting, methods=None):
    """The figures of the first leaderboard by kind."""
    found = pictures(report.results, report.leaderboards, matrices(report.overlaps), setting, methods)
    return {picture.kind: picture.draw() for picture in found if picture.block == found[0].block}


@pytest.fixture(scope="module")
def many():
    return board("methods-mnist")


@pytest.fixture(scope="module")
def printed(many):
    """Figures of thirty methods over a page, of six in a column, and of all kinds; by their names."""
    few, rows = board("quickstart"), many.leaderboards.rows
    thirty = list(dict.fromkeys(rows.loc[rows["pruner"].isin(ON_A_PAGE) & rows["control"].isin(CONTROLS), "method"]))
    assert 28 <= len(thirty) <= 32
    sets = {
        "page": drawn(many, PAGE, thirty),
        "column": drawn(many, COLUMN, SIX),
        "few over a page": drawn(few, PAGE),
        "few in a column": drawn(few, COLUMN),
        "no families": drawn(many, dataclasses.replace(PAGE, grouped=False), thirty),
        "large text": drawn(few, dataclasses.replace(COLUMN, size=9.0)),
    }
    figures = {(name, kind): figure for name, kinds in sets.items() for kind, figure in kinds.items()}
    for figure in figures.values():
        FigureCanvasAgg(figure).draw()
    return figures


def shown_texts(figure):
    """The texts that a reader sees, with their boxes."""
    for text in figure.findobj(Text):
        box = text.get_window_extent()
        inside = text.axes is None or text not in ticks_outside(text.axes)
        if text.get_visible() and text.get_text().strip() and inside:
            yield text, box


def ticks_outside(axes):
    return [
        label
        for axis in (axes.xaxis, axes.yaxis)
        for tick in axis.get_major_ticks()
        for label in (tick.label1, tick.label2)
        if not min(axis.get_view_interval()) <= tick.get_loc() <= max(axis.get_view_interval())
    ]


def test_every_kind_is_drawn_from_a_committed_board(printed):
    assert {kind for name, kind in printed if name == "few in a column"} == set(KINDS) - {"pareto-inference"}
    assert ("page", "pareto-inference") in printed


def test_figures_have_exactly_their_width(printed):
    for (name, kind), figure in printed.items():
        assert figure.get_size_inches()[0] == (3.25 if "column" in name or "large" in name else 6.75), (name, kind)
        assert 1 < figure.get_size_inches()[1] < 8.5, (name, kind)


def test_no_text_is_smaller_than_seven_points(printed):
    for (name, kind), figure in printed.items():
        least = min(text.get_fontsize() for text, _ in shown_texts(figure))
        assert least == (9.0 if name == "large text" else 7.0), (name, kind)


def test_texts_neither_meet_nor_leave_the_canvas(printed):
    for where, figure in printed.items():
        found, (wide, high) = list(shown_texts(figure)), figure.bbox.size
        for text, box in found:
            inside = box.x0 > -0.5 and box.y0 > -0.5 and box.x1 < wide + 0.5 and box.y1 < high + 0.5
            assert inside, (where, text.get_text())
        for (one, box), (other, beside) in itertools.combinations(found, 2):
            assert not Bbox.intersection(box.padded(-0.7), beside.padded(-0.7)), (
                where, one.get_text(), other.get_text(),
            )  # fmt: skip


def test_no_line_goes_through_a_name(printed):
    for where, figure in printed.items():
        for axes in (axes for axes in figure.axes if where[1] not in ("layers", "overlap")):
            names = [text.get_window_extent().padded(-1.0) for text in axes.texts]
            paths = [line.get_transform().transform_path(line.get_path()) for line in axes.lines]
            bars = [part for part in axes.collections if isinstance(part, LineCollection)]
            paths += [part.get_transform().transform_path(path) for part in bars for path in part.get_paths()]
            assert not any(path.intersects_bbox(name, filled=False) for path in paths for name in names), where


def test_a_method_has_one_colour_in_all_kinds_and_choices(many, printed):
    figures = [figure for (name, _), figure in printed.items() if name in ("page", "column", "no families")]
    looks = {}
    for line in (line for figure in figures for line in figure.findobj(lambda artist: hasattr(artist, "get_marker"))):
        number = re.match(r"method-\d+", line.get_gid() or "")
        if number and line.get_marker() not in ("None", "", None):
            looks.setdefault(number[0], set()).add((line.get_color(), line.get_marker()))
    assert all(len(look) == 1 for look in looks.values()) and len(looks) > 25
    assert len(set.union(*looks.values())) == len(looks)


def test_methods_of_one_family_differ_in_colour():
    families = {str(place): FAMILIES[place % len(FAMILIES)] for place in range(49)}
    looks = marks(families, set())
    for family in FAMILIES:
        own = [looks[name].colour for name in families if families[name] == family]
        assert len(set(own)) == len(own) == 7
    assert [mark.number for mark in looks.values()] == list(range(49))


def test_families_fill_panels_of_their_own_where_there_are_many_methods(printed):
    titles = [axes.get_title(loc="left") for axes in printed["page", "accuracy"].axes]
    assert [*dict.fromkeys(titles)] == [family[0].upper() + family[1:] for family in FAMILIES]
    assert titles == sorted(titles, key=[*dict.fromkeys(titles)].index), "panels of one family stand together"
    assert [axes.get_title(loc="left") for axes in printed["column", "accuracy"].axes] == [""]
    assert {axes.get_title(loc="left") for axes in printed["no families", "accuracy"].axes} == {""}


def test_panels_hold_a_family_each_and_unknown_ones_come_last():
    items = [*"abcdefghijkl"]
    known = ["control"] * 9 + ["dynamic"] * 2 + [""]
    assert panelled(items, known, 7) == [
        ("Dynamic", ["j", "k"]), ("Control", [*"abcde"]), ("Control", [*"fghi"]), ("Other", ["l"])
    ]  # fmt: skip
    assert panelled(items[:8], known[:8], 7) == [("", items[:8])]
    assert [len(part) for _, part in panelled(items, [""] * 12, 7)] == [6, 6]


def test_a_label_without_a_free_place_is_left_out():
    point, box, size = np.array([50.0, 50.0]), np.array([30.0, 8.0]), np.array([100.0, 100.0])
    assert placed([(point, box, "free")], [], size, 7.0)[0].corner == pytest.approx([56.3, 46.0])
    assert placed([(point, box, "none")], [np.array([0.0, 0.0, 100.0, 100.0])], size, 7.0) == [None]


def test_files_hold_their_fonts_as_truetype(printed):
    for where in (("column", "accuracy"), ("page", "pareto")):
        pdf = content(printed[where], "pdf")
        assert b"/FontFile2" in pdf and b"/Type3" not in pdf, where
        width = float(re.search(rb"/MediaBox \[ 0 0 ([\d.]+) ", pdf)[1])
        assert width == pytest.approx(72 * (3.25 if where[0] == "column" else 6.75))
        assert content(printed[where], "pdf") == pdf
