"""Tables for papers, from records made for the purpose and the published ones."""

from __future__ import annotations

import csv
import dataclasses
import html.parser
import io
import os
import re
import shutil
import subprocess
import sys

import pytest
import typer
from typer.testing import CliRunner

from lth_bench.cli import table as table_command
from lth_bench.experiments.experiment import Choice, Planned
from lth_bench.reports.escaping import plain
from lth_bench.reports.formats.documents import DOCUMENTS
from lth_bench.reports.paper.layouts import LAYOUTS, tables
from lth_bench.reports.paper.selection import RowSelection
from lth_bench.reports.table import Cell, Column, Row, Table
from lth_bench.results.frame import load
from support import records
from support.documents import write_document
from support.hostile import HOSTILE
from support.places import ROOT
from support.records import DENSE, RECIPE, planned, write_run

LEADERBOARD = ROOT / "leaderboards" / "methods-mnist"
WRITABLE = [text for text in HOSTILE if not re.search("[\ud800-\udfff]", text)]
"""Those that a data frame can hold."""
VERSIONS = {"lth-bench": "0.1.0", "torch": "2.6.0", "timm": "1.0.9"}
NETWORK = {"layers": [{"name": "w", "shape": [10, 100], "flops": 2000}], "other_flops": 0, "parameters": 1010}


def record(item, accuracy, measured=None, **changes):
    return records.record(item, accuracy, measured, environment=VERSIONS, **changes)


def priced(item, accuracy, kept, examples):
    """A record with what costs are made of: one layer of 1000 weights and 2000 FLOPs, and 10 biases."""
    events = [{"kind": "train", "steps": 10, "examples": examples, "kept": [kept]}]
    sparsity = {"measured": 1 - kept / 1000, "effective": 1 - kept / 1000, "layers": {"w": {"kept": kept}}}
    return record(item, accuracy, network=NETWORK, events=events, sparsity=sparsity)


def made(folder, rows, layout="sparsities", **wanted):
    """The tables of a run directory of (planned, accuracy or status)."""
    write_run(folder, rows, record)
    return tables(load(folder), layout, RowSelection(**wanted))


def seeds(label, sparsity, accuracies, **changes):
    return [(planned(label, sparsity, seed, **changes), value) for seed, value in enumerate(accuracies)]


def rows_of(table):
    return {name.shown: cells for name, *cells in (row.cells for row in table.rows)}


def heads_of(table):
    return [plain(column.head) for column in table.columns]


def rendered(tables, form):
    return DOCUMENTS[form](tables)


THREE = [
    *seeds("dense", 0.0, (0.90, 0.92, 0.94)),
    *seeds("imp", 0.5, (0.91, 0.91, 0.97)),
    *seeds("snip", 0.5, (0.90, 0.90, 0.96)),
    *seeds("random", 0.5, (0.90, 0.92, 0.95)),
    *seeds("imp", 0.9, (0.8, 0.8, 0.8)),
]


def test_means_intervals_and_the_best_by_hand(tmp_path):
    """Student's t at 2 degrees of freedom is 4.3027."""
    (table,) = made(tmp_path, THREE)
    rows = rows_of(table)
    assert heads_of(table) == ["method", "50%", "90%"]
    assert rows["dense (at 0%)"] == [Cell("92.00", "± 4.97")]
    assert rows["imp"] == [Cell("93.00", "± 8.61", mark="best"), Cell("80.00", "± 0.00")]
    assert rows["snip"] == [Cell("92.00", "± 8.61", notes=("≈",)), Cell("–")]
    assert rows["random"][0] == Cell("92.33", "± 6.25", notes=("≈",), mark="second")
    assert "n = 3" in table.caption and "–: not asked for" in table.caption and "Bold" in table.caption
    assert "lth-bench 0.1.0, torch 2.6.0, timm 1.0.9" in table.caption
    assert "SGD, learning rate 0.1 (constant), 10 iterations at batch size 5" in table.caption
    assert "†" not in table.caption and "‡" not in table.caption and "div." not in table.caption


def test_one_seed_has_no_interval_and_no_best(tmp_path):
    (table,) = made(tmp_path, [(planned("imp", 0.5, 0), 0.9), (planned("snip", 0.5, 0), 0.8)])
    assert rows_of(table) == {"imp": [Cell("90.00")], "snip": [Cell("80.00")]}
    assert "n = 1" in table.caption and "Bold" not in table.caption and "±" not in table.caption


def test_what_did_not_finish_is_shown(tmp_path):
    rows = seeds("imp", 0.5, (0.8, "diverged", "missing")) + seeds("snip", 0.5, ("failed", "failed", "diverged"))
    (table,) = made(tmp_path, rows)
    assert rows_of(table)["imp"] == [Cell("80.00", notes=("(1/3 div., 1/3 miss.)",))]
    assert rows_of(table)["snip"] == [Cell("1/3 div., 2/3 fail.")]
    for words in ("div.: so many seeds diverged", "fail.: so many seeds failed", "miss.: so many seeds are missing"):
        assert words in table.caption
    for form in DOCUMENTS:
        text = rendered([table], form)
        assert "1/3 div., 1/3 miss." in text and "1/3 div., 2/3 fail." in text


def test_a_measured_sparsity_is_told_where_it_differs_and_is_not_compared_where_it_is_missed(tmp_path):
    for seed, accuracy in enumerate((0.9, 0.91)):
        write_document(tmp_path, record(planned("below", 0.5, seed), accuracy, measured=0.483))
        write_document(tmp_path, record(planned("above", 0.5, seed), accuracy - 0.1, measured=0.523))
        write_document(tmp_path, record(planned("exact", 0.5, seed), accuracy - 0.2))
    (table,) = tables(load(tmp_path), "sparsities", RowSelection())
    notes = {name: (cells[0].notes, cells[0].mark) for name, cells in rows_of(table).items()}
    assert notes == {"below": (("(48.3%)",), ""), "above": (("(52.3%)",), "best"), "exact": ((), "second")}
    assert "in brackets" in table.caption


def test_controls_and_recipes_of_their_own_are_marked_and_controls_can_be_left_out(tmp_path):
    rows = [(planned("imp", 0.5, 0), 0.9)]
    rows.append((planned("imp, redraw", 0.5, 0, control=Choice("redraw")), 0.8))
    rows.append((planned("gates", 0.5, 0, own=True, recipe=dataclasses.replace(RECIPE, batch_size=6)), 0.9))
    (table,) = made(tmp_path, rows)
    assert [[row.cells[0].shown for row in section] for section in table.sections] == [
        ["imp", "gates †"],
        ["imp, redraw ‡"],
    ]
    assert "†: trained with a recipe of its own (long)" in table.caption and "‡: a control" in table.caption
    (table,) = tables(load(tmp_path), "sparsities", RowSelection(controls=False))
    assert list(rows_of(table)) == ["imp", "gates †"] and "‡" not in table.caption


def test_methods_are_chosen_by_names_that_may_have_commas_and_compete_among_themselves(tmp_path):
    rows = [*THREE, (planned("imp, redraw", 0.5, 0, control=Choice("redraw")), 0.8)]
    made(tmp_path, rows)
    (table,) = tables(load(tmp_path), "sparsities", RowSelection(methods="imp, redraw,random , snip"))
    shown = rows_of(table)
    assert list(shown) == ["dense (at 0%)", "snip", "random", "imp, redraw ‡"]
    assert [name for name, cells in shown.items() if cells[0].mark == "best"] == ["random"]
    with pytest.raises(ValueError, match=r"no method 'rigl' .*there are: dense; imp; snip; random; imp, redraw"):
        tables(load(tmp_path), "sparsities", RowSelection(methods="imp,rigl"))


def test_models_stand_side_by_side_with_mean_ranks(tmp_path):
    other = {"model": Choice("lenet_5", {"width": 2})}
    rows = [*THREE, *seeds("dense", 0.0, (0.5, 0.6), **other)]
    rows += seeds("imp", 0.5, (0.8, 0.7), **other) + seeds("snip", 0.5, (0.9, 0.8), **other)
    (table,) = made(tmp_path, rows, "models")
    assert heads_of(table) == [
        "method",
        "lenet_300_100 on digits",
        "lenet_5 (width=2) on digits",
        "mean rank",
    ]
    shown = rows_of(table)
    assert [cell.text for cell in shown["dense"]] == ["92.00", "55.00", "–"]
    assert [cell.text for cell in shown["imp"]] == ["93.00", "75.00", "1.5"]
    assert [cell.text for cell in shown["snip"]] == ["92.00", "85.00", "1.5"]
    assert shown["random"][1:] == [Cell("–"), Cell("–")]
    assert "2 leaderboards that all compared methods (2) finished" in table.caption
    assert "Not compared: random (lacks 50% of lenet_5 (width=2) on digits)" in table.caption
    (table,) = tables(load(tmp_path), "models", RowSelection(average=True))
    assert heads_of(table)[-2:] == ["improv- ability (%)", "Elo"] and "Bradley" in table.caption
    imp = rows_of(table)["imp"]
    assert [(cell.text, cell.interval) for cell in imp[-3:-1]] == [("1.5", "[1.0, 2.0]"), ("20.0", "[0.0, 100.0]")]
    assert table.title == "Accuracy (%) at a sparsity of 50%", "most rows have it"
    with pytest.raises(ValueError, match=r"a sparsity of 0\.7; there are: 0\.5, 0\.9"):
        tables(load(tmp_path), "models", RowSelection(at=0.7))


def test_costs_by_hand(tmp_path):
    """Training is 3 passes of 2000 FLOPs, times what is kept; a bitmap has 125 bytes, and a number 4."""
    for seed, accuracy in enumerate((0.90, 0.94)):
        write_document(tmp_path, priced(planned("dense", 0.0, seed), accuracy, 1000, 50))
        write_document(tmp_path, priced(planned("imp", 0.9, seed), accuracy - 0.02, 100, 150))
    (table,) = tables(load(tmp_path), "costs", RowSelection())
    assert heads_of(table)[-1] == "size (kB)"
    dense, imp = ([(cell.text, cell.interval) for cell in cells] for cells in rows_of(table).values())
    none = [(text, "") for text in ("0.00", "1.00", "100.00", "1,010", "4.0")]
    assert dense == [("92.00", "± 25.41"), ("–", ""), *none]
    few = [(text, "") for text in ("90.00", "0.30", "10.00", "110", "0.6")]
    assert imp == [("90.00", "± 25.41"), ("-2.00", "± 0.00"), *few]


def test_costs_that_records_lack_are_missing(tmp_path):
    (table,) = made(tmp_path, THREE, "costs", at=0.5)
    assert [cell.text for cell in rows_of(table)["imp"]] == ["93.00", "+1.00", *5 * ["n/a"]]
    assert "n/a: not in the records" in table.caption


def test_a_block_without_the_sparsity_has_no_table_of_costs(tmp_path):
    rows = [*THREE, *seeds("imp", 0.7, (0.5,), model=Choice("lenet_5"))]
    assert len(made(tmp_path, rows, "costs")) == 2
    (table,) = tables(load(tmp_path), "costs", RowSelection(at=0.7))
    assert "lenet_5" in table.title


def test_published_numbers_stand_below_and_are_never_bold(tmp_path):
    mnist = {"dataset": Choice("mnist")}
    rows = seeds("dense", 0.0, (0.9, 0.9), **mnist) + seeds("SNIP", 0.98, (0.9, 0.9), **mnist)
    (table,) = made(tmp_path, [*rows, *seeds("SNIP", 0.9, (0.9, 0.9), **mnist)], published=True)
    reported = {name.shown: cells for name, *cells in (row.cells for row in table.sections[-1])}
    assert reported["SNIP (Lee et al. 2019)"] == [Cell("–"), Cell("97.6", mark="reported")]
    assert reported["DNS (Guo et al. 2016)"] == [Cell("–"), Cell("98.0", notes=("(98.2%)",), mark="reported")]
    assert reported["dense ref (Lee et al. 2019), at 0%"] == [Cell("98.3", mark="reported")]
    assert not any(name.startswith("LC") for name in reported), "99 % is too far away"
    assert "protocols differ" in table.caption
    assert "*98.0 (98.2%)*" in rendered([table], "md") and r"\textit{98.0}" in rendered([table], "tex")
    (table,) = tables(load(tmp_path), "sparsities", RowSelection())
    assert "Lee" not in rendered([table], "md") and "protocols differ" not in table.caption


def test_published_numbers_stand_below_every_layout(tmp_path):
    mnist = {"dataset": Choice("mnist")}
    rows = seeds("SNIP", 0.98, (0.9, 0.9), **mnist)
    rows += seeds("SNIP", 0.98, (0.9, 0.9), model=Choice("lenet_5"), **mnist)
    (table,) = made(tmp_path, rows, "models", published=True, average=True)
    reported = {
        name.shown: [cell.shown for cell in cells] for name, *cells in (row.cells for row in table.sections[-1])
    }
    assert reported["SNIP (Lee et al. 2019)"] == ["97.6", "99.2", "–", "–", "–"]
    assert reported["dense ref (Lee et al. 2019), at 0%"] == ["98.3", "99.1", "–", "–", "–"]
    assert reported["DNS (Guo et al. 2016)"][1] == "–" and "not compared" in table.caption
    costs, _ = tables(load(tmp_path), "costs", RowSelection(published=True))
    names = {row.cells[0].shown: [cell.shown for cell in row.cells[1:]] for row in costs.sections[-1]}
    assert names["SNIP (Lee et al. 2019)"] == ["97.6", *["–"] * 6] and not costs.spans(costs.sections[-1][0])


def test_published_numbers_of_one_paper_that_differ_are_a_range(tmp_path):
    vgg = {"dataset": Choice("cifar10"), "model": Choice("cifar_vgg19")}
    (table,) = made(tmp_path, [(planned("GraSP", 0.98, 0, **vgg), 0.9)], published=True)
    reported = {row.cells[0].shown: row.cells[1] for row in table.sections[-1]}
    assert reported["GraSP (Wang et al. 2020)"] == Cell("92.19", "± 0.12", mark="reported")
    assert not any(cell.mark == "best" for cell in reported.values())
    assert len(reported) > 5
    pruner = {"dataset": Choice("cifar10"), "model": Choice("cifar_vgg19"), "pruner": Choice("grasp")}
    item = Planned(dataclasses.replace(DENSE, sparsity=0.98, **pruner), "mine", "r", False)
    write_document(tmp_path, record(item, 0.9))
    (table,) = tables(load(tmp_path), "sparsities", RowSelection(methods="mine", published=True))
    assert {name.split()[0] for name in (row.cells[0].text for row in table.sections[-1])} >= {"GraSP"}
    assert "SNIP (Wang et al. 2020)" not in rows_of(table), "only those of the methods that are shown"


def test_numbers_are_alone_in_the_cells_of_csv(tmp_path):
    lines = list(csv.reader(io.StringIO(rendered(made(tmp_path, THREE), "csv"))))
    assert lines[0] == ["method", "50%", "50% ±", "50% place", "50% note", "90%", "90% ±"]
    assert lines[1] == ["dense (at 0%)", "92.00", "4.97", "", "", "92.00", "4.97"]
    assert lines[2] == ["imp", "93.00", "8.61", "best", "", "80.00", "0.00"]
    assert lines[-1][0].startswith("Accuracy (%) of lenet_300_100 on digits")
    costs = rendered(tables(load(tmp_path), "costs", RowSelection(at=0.9)), "csv")
    assert float(list(csv.reader(io.StringIO(costs)))[2][3]) == -12.0


def test_markdown_and_html_show_the_same_cells(tmp_path):
    found = made(tmp_path, THREE)
    text = rendered(found, "md")
    assert "| **93.00 ± 8.61** " in text and "<ins>92.33 ± 6.25 ≈</ins>" in text
    page = rendered(found, "html")
    assert "<td><b>93.00 ± 8.61</b></td>" in page
    assert '<td colspan="2">92.00 ± 4.97</td>' in page


def test_labels_of_tables_are_distinct_and_safe(tmp_path):
    models = [Choice("m", {"x": value}) for value in ("_{", "}^", "%")]
    rows = [(planned("imp", 0.5, 0, model=model), 0.9) for model in models]
    labels = [table.label for table in made(tmp_path, rows)]
    assert len(set(labels)) == 3 and all(re.fullmatch("[a-z0-9-]+", label) for label in labels)


@pytest.fixture(scope="module")
def named(tmp_path_factory):
    """Results with as many methods as there are hostile texts."""
    folder = tmp_path_factory.mktemp("hostile")
    rows = [(planned(f"m{number}", 0.5, 0, own=number % 9 == 0), 0.8) for number in range(len(WRITABLE))]
    made(folder, [(planned("dense", 0.0, 0), 0.9), *rows])
    return load(folder)


@pytest.fixture(scope="module")
def hostile(named):
    """Hostile texts as names of methods, and of the recipes of some."""
    names = ["dense", *WRITABLE]
    recipes = [text[:50] for text in names]
    return dataclasses.replace(named, frame=named.frame.assign(method=names, trained_with=recipes))


class Tags(html.parser.HTMLParser):
    def __init__(self):
        super().__init__()
        self.found = set()

    def handle_starttag(self, tag, attrs):
        self.found |= {tag, *(name for name, _ in attrs)}


@pytest.mark.parametrize("layout", LAYOUTS)
def test_hostile_names_stay_text(hostile, layout):
    found = tables(hostile, layout, RowSelection())
    tags = Tags()
    tags.feed(rendered(found, "html"))
    elements = "html lang meta charset http-equiv content title h2 table thead tbody tr th td colspan p b"
    assert tags.found <= set(elements.split())
    lines = list(csv.reader(io.StringIO(rendered(found, "csv"))))
    assert not [cell for line in lines for cell in line if re.match(r"[=+@\t\r]|-(?!\d+\.\d+$)", cell)]
    table = [line for line in rendered(found, "md").splitlines() if line.startswith("| ")]
    unescaped = {len(re.findall(r"(?<!\\)(?:\\\\)*\|", line)) for line in table}
    assert len(unescaped) == 1, "as many cells in every row"


def compiled(folder, texts):
    """The log of pdflatex for files that are put into a document which loads the packages that they ask for."""
    if shutil.which("pdflatex") is None:
        if "CI" in os.environ:
            pytest.fail("pdflatex is missing")
        pytest.skip("pdflatex is missing")
    for number, text in enumerate(texts):
        (folder / f"table{number}.tex").write_text(text)
    body = "\n".join(rf"\input{{table{number}.tex}}\clearpage" for number in range(len(texts)))
    packages = r"\documentclass{article}\usepackage{booktabs,graphicx,longtable}"
    document = f"{packages}\n\\begin{{document}}\n{body}\n\\end{{document}}\n"
    (folder / "paper.tex").write_text(document)
    command = ["pdflatex", "-interaction=nonstopmode", "-halt-on-error", "-no-shell-escape", "paper.tex"]
    done = subprocess.run(command, cwd=folder, capture_output=True, timeout=60, check=False)
    log = (folder / "paper.log").read_text(errors="replace")
    assert done.returncode == 0, log[-3000:]
    return log


def complaints(log, slack=1.0):
    """What a page cannot hold, but for so many points, and what LaTeX lost."""
    wide = [float(points) for points in re.findall(r"Overfull \\[hv]box \(([\d.]+)pt", log)]
    lost = re.findall(r"Float too large.*|Missing character.*|multiply.defined.*", log)
    return [points for points in wide if points > slack] + lost


def test_hostile_tables_compile_and_fit(hostile, tmp_path):
    texts = [rendered(tables(hostile, layout, RowSelection()), "tex") for layout in LAYOUTS]
    rows = [Row([Cell(text, mark="reported"), Cell("1.00", "± 1.00", value=1.0)]) for text in HOSTILE]
    texts.append(rendered([Table("title", [Column("method"), Column("50%")], [rows], "caption", "label")], "tex"))
    assert complaints(compiled(tmp_path, texts)) == []
    assert not (tmp_path / "pwned").exists()


def test_hostile_models_data_sets_and_recipes_compile_and_fit(named, tmp_path):
    texts = ["digits", *WRITABLE]
    places = named.frame.assign(model=texts, dataset=texts[::-1], recipe=texts, method="imp")
    results = dataclasses.replace(named, frame=places.iloc[1::2].reset_index(drop=True))
    texts = [rendered(tables(results, layout, RowSelection()), "tex") for layout in LAYOUTS]
    assert complaints(compiled(tmp_path, texts), slack=5.0) == [], "a word in a caption that TeX cannot break"


def test_tables_of_a_leaderboard_compile_and_fit(tmp_path):
    results = load(LEADERBOARD)
    texts = [
        rendered(tables(results, layout, RowSelection(published=layout == "sparsities")), "tex") for layout in LAYOUTS
    ]
    assert all(text.startswith("% In the preamble: \\usepackage{booktabs,graphicx,longtable}") for text in texts)
    assert complaints(compiled(tmp_path, texts)) == []


def test_wide_and_troubled_tables_compile_and_fit(tmp_path):
    rows = [(planned("dense", 0.0, seed), 0.9) for seed in range(3)]
    for sparsity in (0.2, 0.36, 0.488, 0.59, 0.672, 0.738, 0.79, 0.832, 0.866, 0.893, 0.9145):
        rows += seeds("a method with a long name", sparsity, (0.9, 0.8, 0.7))
        rows += seeds("imp", sparsity, (0.9, 0.8, "diverged")) + seeds(
            "snip", sparsity, ("failed", "diverged", "missing")
        )
    texts = [rendered(made(tmp_path, rows, layout), "tex") for layout in LAYOUTS]
    assert texts[0].count(r"\toprule") > 2, "eleven sparsities do not fit the width of a page"
    assert complaints(compiled(tmp_path, texts)) == []


@pytest.mark.parametrize(("rows", "columns"), [(200, 4), (7, 30)])
def test_long_and_wide_tables_break_where_a_page_ends(tmp_path, rows, columns):
    cells = [Cell("99.99", "± 99.99", notes=("(1/3 div.)",), value=99.99)] * columns
    lines = [Row([Cell(f"the method with the number {number}, and a long name"), *cells]) for number in range(rows)]
    heads = [Column(f"{number}%") for number in range(columns)]
    text = rendered([Table("Title", [Column("method"), *heads], [lines], "Caption.", "label")], "tex")
    assert text.count("the method with the number 6,") == text.count(r"\begin{longtable}") > 1
    assert complaints(compiled(tmp_path, [text])) == []


def call(*arguments):
    app = typer.Typer()
    app.command()(table_command.table)
    return CliRunner().invoke(app, list(map(str, arguments)))


def test_the_command_prints_or_writes_a_table(tmp_path):
    made(tmp_path, THREE)
    printed = call(tmp_path, "--layout", "models", "--at", "0.5", "--format", "md")
    assert printed.exit_code == 0 and "| imp      | **93.00 ± 8.61**          | 1.0 " in printed.output
    written = call(tmp_path, "--out", tmp_path / "table.tex", "--methods", "imp", "--no-controls", "--published")
    assert written.exit_code == 0
    assert "\\toprule" in (tmp_path / "table.tex").read_text()


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--at", "0.7", "--layout", "costs"], "no method was asked for a sparsity of 0.7; there are: 0.5, 0.9"),
        (["--at", "0.5"], "--at goes with the layouts models and costs"),
        (["--methods", "rigl"], "no method 'rigl'"),
        (["--average", "--layout", "costs"], "--average goes with the layout models, not with costs"),
        (["--layout", "x"], "Invalid value"),
    ],
)
def test_unusable_input_ends_with_a_sentence_and_status_2(tmp_path, capsys, arguments, words):
    made(tmp_path, THREE)
    done = call(tmp_path, *arguments)
    assert done.exit_code == 2
    assert words in " ".join((done.output + capsys.readouterr().err).split())


def test_no_torch_is_imported():
    modules = "lth_bench.reports.paper.layouts, lth_bench.reports.formats.documents, lth_bench.cli.table"
    code = f"import sys, {modules}; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
