"""Tables at the widths of venues: nothing overfull, nothing tiny, citations resolved."""

from __future__ import annotations

import pytest

from lth_bench.reports.formats.documents import document
from lth_bench.reports.formats.latex import document as latex
from lth_bench.reports.formats.venues import VENUES, inches, venue
from lth_bench.reports.methods import bibliography
from lth_bench.reports.paper.choices import TableChoices
from lth_bench.reports.paper.layouts import LAYOUTS, tables
from lth_bench.reports.table import Cell, Column, Row, Table
from lth_bench.results.frame import load
from support.places import ROOT
from support.venues import CLASSES, PREAMBLE, complaints, shrunk, typeset, unresolved

PLACES = [(style, star) for style, (_, both) in VENUES.items() for star in ([False, True] if both else [False])]
SAME = {"iclr": pytest.mark.slow}  # a page like that of NeurIPS


@pytest.fixture(scope="module")
def board():
    """A board of 30 methods and controls on two networks."""
    return load(ROOT / "leaderboards" / "methods-mnist")


@pytest.mark.parametrize(("style", "star"), [pytest.param(*place, marks=SAME.get(place[0], ())) for place in PLACES])
def test_a_board_fits_with_its_citations(tmp_path, board, style, star):
    shown = [
        tables(board, TableChoices(columns=layout, group="family", bib="b", published=layout == "sparsities"))
        for layout in LAYOUTS
    ]
    bib = bibliography(board.methods, [table for papers in shown for table in papers])
    texts = [document(papers, "tex", venue(style, "", star)) for papers in shown]
    log = typeset(tmp_path, CLASSES[style] + PREAMBLE, texts, bib)
    assert complaints(log) == []
    assert unresolved(log) == []
    assert all(width <= 1.0 for width in shrunk(log)), "text of 7 points or more"
    assert (tmp_path / "paper.bbl").read_text().count(r"\bibitem") == bib.count("author = {")


@pytest.mark.parametrize("style", ["neurips", "icml"])
@pytest.mark.parametrize(("names", "columns"), [(6, 3), (80, 3), (6, 25)])
def test_few_and_many_rows_and_columns_fit(tmp_path, style, names, columns):
    cells = [Cell("99.99", "± 10.99", notes=("≈",), value=99.99)] * columns
    rows = [Row([Cell(f"the method number {number}"), *cells]) for number in range(names)]
    heads = [Column(f"{number}%", group=f"network {number // 5}") for number in range(columns)]
    text = latex(
        [Table("Title", [Column("method"), *heads], [rows], "Caption. " * 40, "label")], venue(style, "", False)
    )
    log = typeset(tmp_path, CLASSES[style] + PREAMBLE, [text])
    assert complaints(log) == [] and all(width <= 1.0 for width in shrunk(log))
    counts = [text.count(f"the method number {number} ") for number in range(names)]
    assert counts == [counts[0]] * names and all(f"{number}\\%" in text for number in range(columns))
    assert (r"\begin{longtable}" in text) == (style == "neurips" and names > 6)
    assert text.count(r"\label{") == 1


def test_as_large_as_fits():
    def size(columns, style="neurips"):
        rows = [Row([Cell("method"), *[Cell("99.99", "± 0.99", value=99.99)] * columns])]
        heads = [Column("90%") for _ in range(columns)]
        return latex([Table("t", [Column("method"), *heads], [rows], "", "l")], venue(style, "", False))

    assert [next(s for s in (9, 8, 7) if rf"\fontsize{{{s}}}" in size(n)) for n in (3, 5, 6, 7, 9)] == [9, 9, 9, 8, 7]


def test_widths_in_any_unit_and_what_is_no_width():
    assert (
        inches("3.25in") == 3.25
        and inches("254 mm") == pytest.approx(10)
        and inches("487.8pt") == pytest.approx(6.75, 1e-3)
    )
    assert venue("", "3.25in", False).has_two_columns and not venue("", "5.5in", False).has_two_columns
    assert venue("icml", "", True).width > 2 * venue("icml", "", False).width
    for arguments, words in [
        (("nips", "", False), "--style knows neurips, iclr, icml, cvpr, ieee, not 'nips'"),
        (("iclr", "", True), "across two columns, and iclr has one"),
        (("icml", "3in", False), "both set the width"),
        (("", "", True), "it needs a --style or a --width"),
        (("", "3", False), "a number with a unit"),
        (("", "0.5in", False), "is 2in to 20in, not 0.5in"),
    ]:
        with pytest.raises(ValueError, match=words):
            venue(*arguments)
