"""Tables for papers, from records made for the purpose and the published ones."""

from __future__ import annotations

import csv
import dataclasses
import html.parser
import io
import re
import subprocess
import sys

import pytest
import typer
from typer.testing import CliRunner

from lth_bench.cli import table as table_command
from lth_bench.experiments.experiment import Choice, Planned
from lth_bench.reports.escaping import plain
from lth_bench.reports.formats.documents import DOCUMENTS
from lth_bench.reports.paper.choices import TableChoices
from lth_bench.reports.paper.layouts import LAYOUTS, tables
from lth_bench.reports.table import Cell, Column, Row, Table
from lth_bench.results.frame import load
from support import records
from support.documents import write_document
from support.hostile import HOSTILE
from support.places import ROOT
from support.records import DENSE, RECIPE, planned, write_run
from support.venues import complaints, typeset

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
    return tables(load(folder), TableChoices(columns=layout, **wanted))


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
    (table,) = tables(load(tmp_path), TableChoices())
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
    (table,) = tables(load(tmp_path), TableChoices(controls=False))
    assert list(rows_of(table)) == ["imp", "gates †"] and "‡" not in table.caption


def test_methods_are_chosen_by_names_that_may_have_commas_and_compete_among_themselves(tmp_path):
    rows = [*THREE, (planned("imp, redraw", 0.5, 0, control=Choice("redraw")), 0.8)]
    made(tmp_path, rows)
    (table,) = tables(load(tmp_path), TableChoices(methods="imp, redraw,random , snip"))
    shown = rows_of(table)
    assert list(shown) == ["dense (at 0%)", "snip", "random", "imp, redraw ‡"]
    assert [name for name, cells in shown.items() if cells[0].mark == "best"] == ["random"]
    with pytest.raises(ValueError, match=r"no method 'rigl' .*there are: dense; imp; snip; random; imp, redraw"):
        tables(load(tmp_path), TableChoices(methods="imp,rigl"))


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
    assert [cell.text for cell in shown["dense"]] == ["92.00", "55.00", ""]
    assert [cell.text for cell in shown["imp"]] == ["93.00", "75.00", "1.5"]
    assert [cell.text for cell in shown["snip"]] == ["92.00", "85.00", "1.5"]
    assert shown["random"][1:] == [Cell("–"), Cell()]
    assert "2 leaderboards that all compared methods (2) finished" in table.caption
    assert "Not compared: random (lacks 50% of lenet_5 (width=2) on digits)" in table.caption
    (table,) = tables(load(tmp_path), TableChoices(columns="models", average=True))
    assert heads_of(table)[-2:] == ["improv- ability (%)", "Elo"] and "Bradley" in table.caption
    imp = rows_of(table)["imp"]
    assert [(cell.text, cell.interval) for cell in imp[-3:-1]] == [("1.5", "[1.0, 2.0]"), ("20.0", "[0.0, 100.0]")]
    assert table.title == "Accuracy (%) at a sparsity of 50%", "most rows have it"
    with pytest.raises(ValueError, match=r"a sparsity of 70%; there are: 50%, 90%"):
        tables(load(tmp_path), TableChoices(columns="models", at=0.7))


def test_costs_by_hand(tmp_path):
    """Training is 3 passes of 2000 FLOPs, times what is kept; a bitmap has 125 bytes, and a number 4."""
    for seed, accuracy in enumerate((0.90, 0.94)):
        write_document(tmp_path, priced(planned("dense", 0.0, seed), accuracy, 1000, 50))
        write_document(tmp_path, priced(planned("imp", 0.9, seed), accuracy - 0.02, 100, 150))
    (table,) = tables(load(tmp_path), TableChoices(columns="costs"))
    assert heads_of(table)[-1] == "size (B)"
    dense, imp = ([(cell.text, cell.interval) for cell in cells] for cells in rows_of(table).values())
    none = [(text, "") for text in ("0.00", "1.00", "100.00", "1,010", "4,040")]
    assert dense == [("92.00", "± 25.41"), ("", ""), *none]
    few = [(text, "") for text in ("90.00", "0.30", "10.00", "110", "565")]
    assert imp == [("90.00", "± 25.41"), ("-2.00", "± 0.00"), *few]


def test_costs_that_records_lack_are_missing(tmp_path):
    (table,) = made(tmp_path, THREE, "costs", at=0.5)
    assert [cell.text for cell in rows_of(table)["imp"]] == ["93.00", "+1.00", *5 * ["n/a"]]
    assert "n/a: not in the records" in table.caption


def test_a_block_without_the_sparsity_has_no_table_of_costs(tmp_path):
    rows = [*THREE, *seeds("imp", 0.7, (0.5,), model=Choice("lenet_5"))]
    assert len(made(tmp_path, rows, "costs")) == 2
    (table,) = tables(load(tmp_path), TableChoices(columns="costs", at=0.7))
    assert "lenet_5" in table.title


def test_published_numbers_stand_below_and_are_never_bold(tmp_path):
    mnist = {"dataset": Choice("mnist")}
    rows = seeds("dense", 0.0, (0.9, 0.9), **mnist) + seeds("SNIP", 0.98, (0.9, 0.9), **mnist)
    (table,) = made(tmp_path, [*rows, *seeds("SNIP", 0.9, (0.9, 0.9), **mnist)], published=True)
    reported = {name.shown: cells for name, *cells in (row.cells for row in table.sections[-1])}
    assert reported["SNIP (Lee et al. 2019)"] == [Cell(), Cell("97.6", mark="reported")]
    assert reported["DNS (Guo et al. 2016)"] == [Cell(), Cell("98.0", notes=("(98.2%)",), mark="reported")]
    assert reported["dense ref (Lee et al. 2019), at 0%"] == [Cell("98.3", mark="reported")]
    assert not any(name.startswith("LC") for name in reported), "99 % is too far away"
    assert "protocols differ" in table.caption
    assert "*98.0 (98.2%)*" in rendered([table], "md") and r"\textit{98.0}" in rendered([table], "tex")
    (table,) = tables(load(tmp_path), TableChoices())
    assert "Lee" not in rendered([table], "md") and "protocols differ" not in table.caption


def test_published_numbers_stand_below_every_layout(tmp_path):
    mnist = {"dataset": Choice("mnist")}
    rows = seeds("SNIP", 0.98, (0.9, 0.9), **mnist)
    rows += seeds("SNIP", 0.98, (0.9, 0.9), model=Choice("lenet_5"), **mnist)
    (table,) = made(tmp_path, rows, "models", published=True, average=True)
    reported = {
        name.shown: [cell.shown for cell in cells] for name, *cells in (row.cells for row in table.sections[-1])
    }
    assert reported["SNIP (Lee et al. 2019)"] == ["97.6", "99.2", "", "", ""]
    assert reported["dense ref (Lee et al. 2019), at 0%"] == ["98.3", "99.1", "", "", ""]
    assert reported["DNS (Guo et al. 2016)"][1] == "" and "not compared" in table.caption
    costs, _ = tables(load(tmp_path), TableChoices(columns="costs", published=True))
    names = {row.cells[0].shown: [cell.shown for cell in row.cells[1:]] for row in costs.sections[-1]}
    assert names["SNIP (Lee et al. 2019)"] == ["97.6", *[""] * 6] and not costs.spans(costs.sections[-1][0])


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
    (table,) = tables(load(tmp_path), TableChoices(methods="mine", published=True))
    assert {name.split()[0] for name in (row.cells[0].text for row in table.sections[-1])} >= {"GraSP"}
    assert "SNIP (Wang et al. 2020)" not in rows_of(table), "only those of the methods that are shown"


def test_methods_stand_in_the_order_that_is_asked_for(tmp_path):
    (table,) = made(tmp_path, THREE, order="random,imp")
    assert list(rows_of(table)) == ["dense (at 0%)", "random", "imp", "snip"]
    for order in ("50%", "0.5", "accuracy"):
        (table,) = tables(load(tmp_path), TableChoices(order=order, methods="snip,random,imp", at="50%"))
        assert list(rows_of(table))[1:] == (
            ["imp", "random", "snip"] if order != "accuracy" else ["random", "snip", "imp"]
        )
    with pytest.raises(ValueError, match=r"--order: no method 'rigl'.*or give a sparsity or a column"):
        tables(load(tmp_path), TableChoices(order="rigl"))


def test_other_names(tmp_path):
    names = {"imp": "Lottery ticket", "lenet_300_100": "LeNet"}
    (table,) = made(tmp_path, THREE, rename=names, order="imp", methods="imp,snip")
    assert list(rows_of(table)) == ["dense (at 0%)", "Lottery ticket", "snip"] and "LeNet on digits" in table.title
    assert rows_of(table)["Lottery ticket"][0].text == "93.00", "the same row"
    with pytest.raises(ValueError, match="several rows of column method would be called 'snip'"):
        tables(load(tmp_path), TableChoices(rename={"imp": "snip"}))
    with pytest.raises(ValueError, match=r"nothing is called 'IMP 2'; there are: .*imp"):
        tables(load(tmp_path), TableChoices(rename={"IMP 2": "x"}))


def test_a_method_is_renamed_in_its_controls_and_found_without_its_revision(tmp_path):
    rows = [*THREE, *seeds("imp, redraw", 0.5, (0.8, 0.8, 0.8), control=Choice("redraw"))]
    rows += seeds("snip, revision 2", 0.9, (0.7, 0.7, 0.7))
    (table,) = made(tmp_path, rows, rename={"imp": "LTH"}, methods="imp,IMP, redraw,random,snip, revision 2")
    assert list(rows_of(table)) == ["dense (at 0%)", "LTH", "random", "snip, revision 2", "LTH, redraw ‡"]
    (table,) = made(tmp_path / "b", [row for row in rows if row[0].label != "snip"], methods="snip")
    assert list(rows_of(table)) == ["dense (at 0%)", "snip, revision 2"]


def test_what_only_found_tickets_is_marked(tmp_path):
    write_run(tmp_path, THREE, record)
    results = load(tmp_path)
    frame = results.frame.assign(helper=results.frame["method"] == "random")
    (table,) = tables(dataclasses.replace(results, frame=frame), TableChoices())
    assert "random §" in rows_of(table) and "§: only found tickets for others, not compared." in table.caption


def test_families_have_heads_that_are_no_rows(tmp_path):
    rows = [*THREE, *seeds("redrawn", 0.5, (0.8, 0.8, 0.8), control=Choice("redraw"))]
    write_run(tmp_path, rows, record)
    results = load(tmp_path)
    families = {"imp": "after training", "random": "before training", "snip": "before training"}
    frame = results.frame.assign(family=results.frame["method"].map(families).fillna(""))
    (table,) = tables(dataclasses.replace(results, frame=frame), TableChoices(group="family"))
    names = [row.cells[0].text for row in table.rows]
    assert names == ["dense", "Before training", "snip", "random", "After training", "imp", "Control", "redrawn"]
    assert [len(section) for section in table.sections] == [1, 3, 2, 2]
    assert "Before training" not in rendered([table], "csv") and "*Before training*" in rendered([table], "md")
    assert r"\textit{Before training} & \multicolumn" in rendered([table], "tex")


def test_what_stands_behind_a_mean(tmp_path):
    cells = {}
    for spread in ("ci", "sd", "none"):
        (table,) = made(tmp_path, THREE, spread=spread)
        cells[spread] = rows_of(table)["imp"][0]
    assert [cell.interval for cell in cells.values()] == ["± 8.61", "± 3.46", ""]  # 91, 91, 97: s = 3.46, t = 4.303
    assert "standard deviation" in made(tmp_path, THREE, spread="sd")[0].caption
    assert "±" not in made(tmp_path, THREE, spread="none")[0].caption
    costs = made(tmp_path, THREE, "costs", spread="sd")[0]
    assert rows_of(costs)["imp"][1].interval == "± 2.00", "differences of 1, -1 and 3 points"


def test_captions_are_as_long_as_is_asked_for(tmp_path):
    full, short = (made(tmp_path, THREE, caption=length)[0] for length in ("full", "short"))
    assert "learning rate" in full.caption and "learning rate" not in short.caption
    assert "Bold: the highest mean" in short.caption and "not asked for" in short.caption
    assert "paired by seed" in made(tmp_path, THREE, "costs", caption="short")[0].caption, "what numbers mean"
    assert "by more than 2 points" in made(tmp_path, THREE, equivalence=2)[0].caption
    call(tmp_path, "--caption", "none", "--out", tmp_path / "bare.tex")
    text = (tmp_path / "bare.tex").read_text()
    assert r"\begin{table}" not in text and r"\caption" not in text and r"\label" not in text and r"\toprule" in text
    assert "% Accuracy (%) of lenet_300_100 on digits by sparsity. Recipe r: " in text, "what it is stays in a comment"
    assert "Recipe" not in call(tmp_path, "--caption", "none", "--format", "md").output
    own = "\\begin{table}\\caption{Mine}\\label{x}\n" + text + "\\end{table}"
    assert complaints(compiled(tmp_path, [own])) == []


def test_models_and_sparsities_stand_beside_each_other(tmp_path):
    rows = [*THREE, *seeds("imp", 0.5, (0.7, 0.7, 0.7), model=Choice("lenet_5"))]
    (table,) = made(tmp_path, rows, "models*sparsities")
    groups = ["", "lenet_300_100\non digits", "lenet_300_100\non digits", "lenet_5\non digits", ""]
    assert [column.group for column in table.columns] == groups
    assert heads_of(table) == ["method", "50%", "90%", "50%", "mean rank"]
    assert [cell.text for cell in rows_of(table)["imp"]] == ["93.00", "80.00", "70.00", "1.0"]
    assert [cell.text for cell in rows_of(table)["dense"]][:3] == ["92.00", "92.00", "–"]
    (table,) = tables(load(tmp_path), TableChoices(columns="models*sparsities", at=["90%"]))
    assert heads_of(table) == ["method", "90%", "mean rank"]
    assert r"\cmidrule(lr){2-3}" in rendered([table], "tex")


def test_directories_with_other_recipes_stand_beside_each_other_but_not_those_with_other_data(tmp_path):
    other = dataclasses.replace(RECIPE, learning_rate=0.2)
    write_run(tmp_path / "a", THREE, record)
    write_run(tmp_path / "b", seeds("imp", 0.5, (0.6, 0.6, 0.6), recipe=other), record)
    done = call(tmp_path / "a", tmp_path / "b", "--columns", "models", "--format", "csv")
    assert done.exit_code == 0, done.output
    heads, *lines = csv.reader(io.StringIO(done.output))
    assert [head.split(" [")[0] for head in heads if head.endswith("]")] == ["lenet_300_100 on digits, r"] * 2
    assert next(line for line in lines if line[0] == "imp").count("60.00") == 1


FILE = """
directories = ["run"]
columns = "costs"
at = "90%"
methods = ["imp", "snip"]
out = "tables/main.tex"
style = "icml"

[rename]
imp = "IMP"
"""


def test_a_file_of_choices_makes_the_same_table_from_any_folder(tmp_path):
    write_run(tmp_path / "run", THREE, record)
    (tmp_path / "main.toml").write_text(FILE)
    (tmp_path / "tables").mkdir()
    assert call(tmp_path / "main.toml").exit_code == 0
    text = (tmp_path / "tables" / "main.tex").read_text()
    assert "235pt" in text and r"\label{tab:main-costs-at-0-9" in text and "IMP" in text and "random" not in text
    other = call(tmp_path / "main.toml", "--columns", "sparsities", "--out", tmp_path / "b.md", "--format", "md")
    assert other.exit_code == 0 and "| IMP " in (tmp_path / "b.md").read_text(), "options count more"


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ('columsn = "costs"', "main.toml: columsn: no such key here; did you mean 'columns'?"),
        ('directories = "run"\nspread = "se"', "main.toml: spread: Input should be 'ci', 'sd' or 'none' (found: 'se')"),
        ('columns = "costs"', "main.toml names no run directories"),
        ("columns = ", "main.toml: not valid TOML"),
        ('directories = ["run"]\nrename = ["x"]', "wants NAME=NEW, not 'x'"),
    ],
)
def test_files_of_choices_that_cannot_be_used_are_refused(tmp_path, capsys, content, words):
    write_run(tmp_path / "run", THREE, record)
    (tmp_path / "main.toml").write_text(content)
    done = call(tmp_path / "main.toml")
    assert done.exit_code == 2 and words in " ".join((done.output + capsys.readouterr().err).split())


def test_numbers_are_alone_in_the_cells_of_csv(tmp_path):
    lines = list(csv.reader(io.StringIO(rendered(made(tmp_path, THREE), "csv"))))
    assert lines[0] == ["method", "50%", "50% ±", "50% place", "50% note", "90%", "90% ±"]
    assert lines[1] == ["dense (at 0%)", "92.00", "4.97", "", "", "92.00", "4.97"]
    assert lines[2] == ["imp", "93.00", "8.61", "best", "", "80.00", "0.00"]
    assert lines[-1][0].startswith("Accuracy (%) of lenet_300_100 on digits")
    costs = rendered(tables(load(tmp_path), TableChoices(columns="costs", at=0.9)), "csv")
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
    found = tables(hostile, TableChoices(columns=layout))
    tags = Tags()
    tags.feed(rendered(found, "html"))
    elements = "html lang meta charset http-equiv content title h2 table thead tbody tr th td colspan p b"
    assert tags.found <= set(elements.split())
    lines = list(csv.reader(io.StringIO(rendered(found, "csv"))))
    assert not [cell for line in lines for cell in line if re.match(r"[=+@\t\r]|-(?!\d+\.\d+$)", cell)]
    table = [line for line in rendered(found, "md").splitlines() if line.startswith("| ")]
    unescaped = {len(re.findall(r"(?<!\\)(?:\\\\)*\|", line)) for line in table}
    assert len(unescaped) == 1, "as many cells in every row"


ARTICLE = r"\documentclass{article}\usepackage{booktabs,graphicx,longtable}"


def compiled(folder, texts):
    """The log of pdflatex for files in a document with only the packages that they ask for."""
    return typeset(folder, ARTICLE, texts)


def test_hostile_tables_compile_and_fit(hostile, tmp_path):
    texts = [rendered(tables(hostile, TableChoices(columns=layout)), "tex") for layout in LAYOUTS]
    rows = [Row([Cell(text, mark="reported"), Cell("1.00", "± 1.00", value=1.0)]) for text in HOSTILE]
    texts.append(rendered([Table("title", [Column("method"), Column("50%")], [rows], "caption", "label")], "tex"))
    assert complaints(compiled(tmp_path, texts)) == []
    assert not (tmp_path / "pwned").exists()


def test_hostile_models_data_sets_and_recipes_compile_and_fit(named, tmp_path):
    texts = ["digits", *WRITABLE]
    places = named.frame.assign(model=texts, dataset=texts[::-1], recipe=texts, method="imp")
    results = dataclasses.replace(named, frame=places.iloc[1::2].reset_index(drop=True))
    texts = [rendered(tables(results, TableChoices(columns=layout)), "tex") for layout in ("sparsities", "models")]
    assert complaints(compiled(tmp_path, texts), slack=5.0) == [], "a word in a caption that TeX cannot break"


def test_tables_of_a_leaderboard_compile_and_fit(tmp_path):
    results = load(LEADERBOARD)
    texts = [
        rendered(tables(results, TableChoices(columns=layout, published=layout == "sparsities")), "tex")
        for layout in LAYOUTS
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
    printed = call(tmp_path, "--columns", "models", "--at", "0.5", "--format", "md")
    assert printed.exit_code == 0 and "| imp      | **93.00 ± 8.61**          | 1.0 " in printed.output
    written = call(tmp_path, "--out", tmp_path / "table.tex", "--methods", "imp", "--no-controls", "--published")
    assert written.exit_code == 0
    assert "\\toprule" in (tmp_path / "table.tex").read_text()


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--at", "0.7", "--columns", "costs"], "no method was asked for a sparsity of 70%; there are: 50%, 90%"),
        (["--at", "50%,90%", "--columns", "costs"], "costs shows one sparsity; --at names 2"),
        (["--methods", "rigl"], "no method 'rigl'"),
        (
            ["--average", "--columns", "costs"],
            "average goes with the columns models and models*sparsities, not with costs",
        ),
        (["--bib", "x.tex", "--out", "x.tex"], "bib and out are both x.tex"),
        (["--out", "x.pdf"], "out x.pdf ends in none of .tex, .md, .csv, .html; name a format"),
        (["--columns", "x"], "columns: Input should be 'sparsities'"),
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
