"""Tables from records made for the purpose, and the published ones."""

from __future__ import annotations

import dataclasses
import json
import re
import sys

import pytest
from rich.console import Console

from lth_bench.cli.display import print_leaderboard
from lth_bench.experiments.experiment import Choice
from lth_bench.experiments.plan import plan, read_suite, weight_folders
from lth_bench.experiments.plugins import load_plugins
from lth_bench.reports.columns import numbers
from lth_bench.reports.leaderboards import formatted, sentence, tables
from lth_bench.reports.report import compare, write_report, write_tables
from lth_bench.results.frame import load, results
from lth_bench.results.leaderboard import summarise
from lth_bench.storage.files import publish
from lth_bench.storage.records import suite_copy
from support.documents import read_documents, write_document
from support.places import ROOT
from support.records import RECIPE, planned, record, recorded
from support.tables import cells_of, heads_of

PUBLISHED = sorted(path.parent for path in (ROOT / "leaderboards").glob("*/plan.json"))


def test_means_deviations_and_paired_differences_by_hand(tmp_path):
    table = recorded(
        tmp_path,
        [(planned("dense", 0.0, s), a) for s, a in enumerate((0.90, 0.92, 0.94))]
        + [(planned("imp", 0.5, s), a) for s, a in enumerate((0.91, 0.91, 0.97))],
    )
    row = table.rows[table.rows["method"] == "imp"].iloc[0]
    assert row["accuracy"] == pytest.approx(93.0)
    assert row["accuracy_sd"] == pytest.approx(((2**2 + 2**2 + 4**2) / 2) ** 0.5)
    assert row["difference"] == pytest.approx((1 - 1 + 3) / 3)
    assert (row["n"], row["missing"]) == (3, 0)
    (block,) = tables(table)
    assert cells_of(block)["imp"]["50%"] == "93.00 ± 8.61 (+1.00)"
    assert cells_of(block)["dense"]["0%"] == "92.00 ± 4.97"
    assert cells_of(block)["dense"]["50%"] == "–"


def test_one_seed_has_no_deviation_and_no_dense_run_no_difference(tmp_path):
    (block,) = tables(recorded(tmp_path, [(planned("imp", 0.5, 0), 0.9)]))
    assert cells_of(block)["imp"]["50%"] == "90.00"


def test_a_note_names_rows_whose_masks_keep_weights_that_are_zero(tmp_path):
    def counted(kept, mask):
        return {"sparsity": {"measured": 1 - kept / 1000, "prunable": 1000, "kept": kept, "mask": mask}}

    rows = [(planned("dense", 0.0, 0), counted(998, 1000)), (planned("factors", 0.9, 0), counted(100, 1000))]
    rows += [(planned("snip", 0.9, 0), counted(100, 100))]
    note = "masks keep more where a weight has just grown or was trained to zero, on average by the number in brackets:"
    assert "masks keep" not in sentence(recorded(tmp_path / "exact", rows))
    rows += [(planned("set", 0.9, s), counted(kept, 100)) for s, kept in enumerate((90, 96))]
    assert f"{note} set at 90% (7)." in sentence(recorded(tmp_path / "zeros", rows))


def test_what_did_not_finish_is_shown_and_never_averaged_over(tmp_path):
    rows = [(planned("dense", 0.0, s), 0.9) for s in range(3)]
    rows += [(planned("imp", 0.5, s), v) for s, v in enumerate((0.8, "diverged", "missing"))]
    rows += [(planned("imp", 0.9, s), "failed") for s in range(3)]
    table = recorded(tmp_path, rows)
    (block,) = tables(table)
    assert cells_of(block)["imp"]["50%"] == "80.00 (-10.00) [1 of 3 seeds; 1 diverged, 1 missing]"
    assert cells_of(block)["imp"]["90%"] == "0 of 3 seeds; 3 failed"
    paths = write_report(compare(load(tmp_path)), tmp_path / "report")
    text = paths[0].read_text()
    assert text.count(": failed: a \\| \\<b>") == 3 and "1 missing" in text


def test_a_directory_in_which_nothing_finished_still_has_its_tables(tmp_path):
    table = recorded(tmp_path, [(planned("imp", 0.9, 0), "failed")])
    assert "1 failed" in formatted(table, "md")
    report = compare(load(tmp_path))
    assert write_tables(report, tmp_path) and write_report(report, tmp_path / "report")


def test_a_directory_with_only_dense_runs_has_its_report(tmp_path):
    recorded(tmp_path, [(planned("dense", 0.0, 0), 0.9)])
    report, page, *_ = write_report(compare(load(tmp_path)), tmp_path / "report")
    assert "90.00" in report.read_text() and "90.00" in page.read_text()


def test_a_report_has_the_titles_of_its_suites_where_it_has_their_files(tmp_path):
    recorded(tmp_path, [(planned("dense", 0.0, 0), 0.9)])

    def heads():
        text, page, *_ = write_report(compare(load(tmp_path)), tmp_path / "report")
        return text.read_text().partition("\n\n## ")[0], re.search("<h1>(.*)</h1>", page.read_text())[1]

    assert heads() == ("# Report: made", "made")
    publish(suite_copy(tmp_path, "made"), b'title = "A *first* look"\ndescription = "At what is there."\n')
    assert heads() == ("# Report: A \\*first\\* look\n\nAt what is there.", "A *first* look")
    publish(suite_copy(tmp_path, "made"), b"title =")
    assert heads() == ("# Report: made", "made")


def test_figures_of_models_with_alike_names_do_not_replace_each_other(tmp_path):
    models = [Choice("m", {"x": value}) for value in (1, -1)] + [Choice("m", {"x": 1, "y": 2})]
    recorded(tmp_path, [(planned("imp", s, 0, model=model), 0.9) for model in models for s in (0.5, 0.9)])
    names = [path.stem for path in write_report(compare(load(tmp_path)), tmp_path / "report")[2:]]
    assert len(set(names)) == len(names) >= 3


def test_a_row_that_exceeds_its_target_stands_there_with_what_was_measured(tmp_path):
    write_document(tmp_path, record(planned("structured", 0.5, 0), 0.9, measured=0.523))
    write_document(tmp_path, record(planned("exact", 0.5, 0), 0.8))
    (block,) = tables(summarise(results(tmp_path)))
    assert cells_of(block) == {"structured": {"50%": "90.00 at 52.3%"}, "exact": {"50%": "80.00"}}


def test_a_row_that_misses_its_target_is_placed_by_what_was_measured_and_its_target_says_so(tmp_path):
    reasons = {"off_target": "pruned weights | are not zero"}
    rows = [(planned("criteria", 0.5, s), {"sparsity": {"measured": 0.483}, "notes": reasons}) for s in (0, 1)]
    rows += [(planned("filters", 0.9, 0), {"sparsity": {"measured": 0.8987}}), (planned("exact", 0.5, 0), 0.8)]
    found = recorded(tmp_path, rows)
    (block,) = tables(found)
    assert cells_of(block) == {
        "criteria": {"48.3%": "90.00 ± 0.00", "50%": "only 48.3%", "89.9%": "–", "90%": "–"},
        "filters": {"48.3%": "–", "50%": "–", "89.9%": "90.00", "90%": "only 89.9%"},
        "exact": {"48.3%": "–", "50%": "80.00", "89.9%": "–", "90%": "–"},
    }
    told = "criteria at 50% (48.3%: pruned weights | are not zero); filters at 90% (89.9%)."
    assert f"Below their targets, and placed by what they reached: {told}" in sentence(found)
    _, page, *_ = write_report(compare(load(tmp_path)), tmp_path / "report")
    assert "only 48.3%" in page.read_text() and told.rstrip(".") in page.read_text()
    assert list(numbers(found)["off_target"]) == ["pruned weights | are not zero", "", ""]


def test_a_recipe_of_its_own_is_marked(tmp_path):
    rows = [(planned("imp", 0.5, 0), 0.9)]
    rows.append((planned("snip", 0.5, 0, own=True, recipe=dataclasses.replace(RECIPE, batch_size=6)), 0.9))
    table = recorded(tmp_path, rows)
    (block,) = tables(table)
    assert list(cells_of(block)) == ["imp", "snip †"]
    assert "† trained with a recipe of its own" in sentence(table)


def test_methods_that_share_a_label_are_never_mixed(tmp_path):
    rows = [(planned("imp", 0.5, 0), 0.9)]
    other = planned("imp", 0.5, 0)
    changed = dataclasses.replace(other.experiment, pruner=Choice("imp", {"rate": 0.5}))
    rows.append((dataclasses.replace(other, experiment=changed), 0.8))
    table = recorded(tmp_path, rows)
    assert list(table.rows["method"]) == ["imp [imp]", "imp [imp (rate=0.5)]"]
    recipe = dataclasses.replace(other.experiment, seed=1, recipe=dataclasses.replace(RECIPE, batch_size=7))
    table = recorded(tmp_path, [(dataclasses.replace(other, experiment=recipe), 0.7)])
    assert len(table.rows) == 3 and set(table.rows["n"]) == {1}, "another recipe is another row, whatever the seed"


def test_a_difference_is_to_the_dense_run_of_the_same_recipe_and_says_how_many_seeds_it_rests_on(tmp_path):
    long = dataclasses.replace(RECIPE, batch_size=6)
    rows = [(planned("dense", 0.0, 0), 0.90), (planned("dense", 0.0, 1), "diverged")]
    rows += [(planned("dense long", 0.0, 0, own=True, recipe=long), 0.99)]
    rows += [(planned("snip", 0.5, s), 0.91) for s in (0, 1)]
    rows += [(planned("imp", 0.5, 0, own=True, recipe=long), 0.91)]
    (block,) = tables(recorded(tmp_path, rows))
    assert cells_of(block)["snip"]["50%"] == "91.00 ± 0.00 (+1.00, 1 of 2 seeds)"
    assert cells_of(block)["imp †"]["50%"] == "91.00 (-8.00)"


def test_a_pruner_that_ignores_its_target_stands_where_it_was_measured(tmp_path):
    for sparsity in (0.5, 0.9):
        write_document(tmp_path, record(planned("dense", sparsity, 0), 0.9, measured=0.0))
    (block,) = tables(summarise(results(tmp_path)))
    assert cells_of(block) == {"dense": {"0%": "90.00", "50%": "only 0%", "90%": "only 0%"}}


def test_targets_that_are_close_have_columns_of_their_own(tmp_path):
    (block,) = tables(recorded(tmp_path, [(planned("imp", s, 0), 0.9) for s in (0.999, 0.9994)]))
    assert heads_of(block) == ["99.9%", "99.94%"]


def test_hostile_labels_stay_text(tmp_path):
    label = r"a|b_{c}%$&#~^\ <script>"
    table = recorded(tmp_path, [(planned("imp", 0.5, 0), 0.9)])
    table.rows["method"] = label
    assert r"a\|b" in formatted(table, "md")
    row = next(line for line in formatted(table, "tex").splitlines() if "script" in line)
    assert r"a\textbar{}b\_\{c\}\%\$\&\#\textasciitilde{}\textasciicircum{}\textbackslash{}" in row
    assert json.loads(formatted(table, "json"))[0]["method"] == label


@pytest.mark.parametrize("folder", PUBLISHED, ids=lambda path: path.name)
def test_published_tables_are_those_of_their_records(folder, tmp_path):
    tables = write_tables(compare(load(folder)), tmp_path)
    files = {path.name for path in folder.iterdir() if path.is_file()}
    assert {path.name for path in tables} == files - {"plan.json"}
    for path in tables:
        assert path.read_text() == (folder / path.name).read_text()


LARGE = {"methods-mnist"}


@pytest.mark.parametrize(
    "folder",
    [pytest.param(path, id=path.name, marks=[pytest.mark.slow] * (path.name in LARGE)) for path in PUBLISHED],
)
def test_published_reports_are_those_of_their_records(folder, tmp_path):
    report = write_report(compare(load(folder)), tmp_path)
    assert {"report.md", "report.html"} < {path.name for path in report}
    for path in report:
        published = ROOT / "reports" / folder.name / path.name
        assert published.exists()
        assert path.suffix != ".md" or path.read_text() == published.read_text()
        assert path.suffix != ".png" or published.with_suffix(".svg").exists()


@pytest.mark.parametrize("folder", PUBLISHED, ids=lambda path: path.name)
def test_published_records_are_whole_and_of_the_suite_as_it_is(folder):
    plugins = load_plugins()
    copy = suite_copy(folder, folder.name)
    source = folder.name if folder.name in plugins.suites else str(copy)
    folders = weight_folders(source, plugins)
    wanted = {item.experiment.key for item in plan(read_suite(source, plugins)[1], plugins, folders)}
    found = read_documents(folder)
    assert {record["key"] for record in found} == wanted
    assert {record["status"] for record in found} == {"done"}
    assert source == str(copy) or copy.read_bytes() == plugins.suites[source].read_bytes()


def test_the_readme_shows_the_published_leaderboard():
    text = (ROOT / "README.md").read_text()
    boards = re.findall(r"<!-- leaderboard: (\S+) -->\n(.*?)<!-- end -->", text, re.S)
    assert [name for name, _ in boards] == ["lenet-mnist-lite"]
    for name, shown in boards:
        assert shown.strip() == (ROOT / "leaderboards" / name / "leaderboard.md").read_text().strip()


def test_the_published_tickets_of_mnist_win():
    """The findings of Frankle & Carbin 2019, figures 1 and 3, on means over seeds."""
    table = summarise(results(ROOT / "leaderboards" / "lenet-mnist-lite"))
    rows = {(row.method, round(row.target, 2)): row for row in table.rows.itertuples()}
    dense, ticket = rows["dense", 0.0], rows["IMP", 0.79]
    assert min(row.n for row in rows.values()) >= 3
    assert ticket.accuracy >= dense.accuracy
    assert ticket.early_stop_step <= 0.7 * dense.early_stop_step
    at_96 = {method: row.accuracy for (method, target), row in rows.items() if target == 0.96}
    assert at_96["IMP"] >= at_96["IMP, redraw"] + 0.5
    assert at_96["IMP"] >= at_96["random, layer-wise as IMP"] + 2
    assert at_96["IMP"] >= at_96["random, uniform"] + 3
    assert at_96["SNIP"] > max(at_96["random, layer-wise as IMP"], at_96["random, uniform"])


def test_names_stay_readable_on_a_narrow_terminal(tmp_path, capsys):
    rows = [(planned("a method with a long name", s, seed), 0.9) for s in (0.5, 0.6, 0.7, 0.8, 0.9) for seed in (0, 1)]
    print_leaderboard(Console(width=60, file=sys.stdout), recorded(tmp_path, rows))
    lines = capsys.readouterr().out.splitlines()
    assert max(map(len, lines)) <= 60
    assert sum("a method with a long name" in line for line in lines) == 3
    assert sum(line.count("90.00 ± 0.00") for line in lines) == 5
