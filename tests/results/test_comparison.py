"""How methods compare: statistics in leaderboards, verdicts, several directories as one; on tables made by hand."""

from __future__ import annotations

import dataclasses
import io
import json
import re

import numpy as np
import pandas as pd
import pytest
from safetensors.numpy import save
from scipy import stats
from typer.testing import CliRunner

from lth_bench.cli.main import app
from lth_bench.errors import FileFault
from lth_bench.experiments.experiment import Choice
from lth_bench.hashing import sha256
from lth_bench.reports.columns import numbers
from lth_bench.reports.leaderboards import formatted, tables
from lth_bench.results.averages import averaged
from lth_bench.results.controls import question, rivals
from lth_bench.results.frame import load, results
from lth_bench.results.leaderboard import summarise
from lth_bench.results.merging import load_all
from lth_bench.results.ordering import arranged, overall
from lth_bench.results.overlap import matrices, overlaps, write_overlaps
from lth_bench.results.verdicts import badges, verdicts
from lth_bench.storage.records import record_path, ticket_path, write_plan
from support.documents import write_document
from support.records import RECIPE, planned, record, recorded, write_run
from support.tables import cells_of

DENSE = (0.90, 0.92, 0.94)


def row(found, method, target=0.5):
    rows = found.rows[(found.rows["method"] == method) & (found.rows["target"] == target)]
    assert len(rows) == 1
    return rows.iloc[0]


def seeds(label, accuracies, target=0.5, **changes):
    return [(planned(label, target, seed, **changes), value) for seed, value in enumerate(accuracies)]


def test_intervals_and_p_values_are_those_of_scipy(tmp_path):
    found = recorded(tmp_path, seeds("dense", DENSE, 0.0) + seeds("imp", (0.91, 0.91, 0.97)) + seeds("snip", DENSE))
    imp = row(found, "imp")
    differences = [1.0, -1.0, 3.0]
    wanted = stats.ttest_1samp(differences, 0)
    interval = wanted.confidence_interval()
    assert (imp["difference_lower"], imp["difference_upper"]) == pytest.approx((interval.low, interval.high))
    assert imp["p"] == pytest.approx(wanted.pvalue)
    # The 8 ways to sign 1, 1 and 3 sum to 5, 3, 3, 1 and minus these; six are as far from zero as 3.
    assert (imp["sign_flip_p"], imp["sign_flip_least"]) == (6 / 8, 0.25)
    assert imp["p_holm"] == pytest.approx(min(1, 2 * wanted.pvalue)), "two methods, of which the other is dense's equal"
    mean = stats.ttest_1samp([91.0, 91, 97], 0).confidence_interval()
    assert (imp["accuracy_lower"], imp["accuracy_upper"]) == pytest.approx((mean.low, mean.high))


def test_bold_is_the_best_mean_and_underlined_the_second_and_a_sign_says_who_is_not_told_from_it(tmp_path):
    rows = seeds("imp", (0.90, 0.91, 0.92)) + seeds("close", (0.89, 0.92, 0.91)) + seeds("worse", (0.84, 0.85, 0.86))
    found = recorded(tmp_path, rows)
    marked = {name: row(found, name)[["best", "second", "near_best"]].tolist() for name in ("imp", "close", "worse")}
    assert marked == {"imp": [True, False, False], "close": [False, True, True], "worse": [False, False, False]}
    (table,) = tables(found)
    assert [(line.cells[1].mark, line.cells[1].notes) for line in table.rows] == [
        ("best", ()),
        ("second", ("≈",)),
        ("", ()),
    ]
    assert "**91.00 ± 2.48**" in formatted(found, "md") and "<ins>90.67 ± 3.79 ≈</ins>" in formatted(found, "md")
    assert r"\textbf{91.00} & $\,\pm\,$2.48" in formatted(found, "tex") and r"\underline{90.67}" in formatted(
        found, "tex"
    )
    assert "<b>91.00 ± 2.48</b>" in formatted(found, "html") and "<u>90.67 ± 3.79 ≈</u>" in formatted(found, "html")


def test_a_large_spread_is_no_advantage(tmp_path):
    wild, steady = (0.60, 0.775, 0.95), [(0.90 + n / 100, 0.901 + n / 100, 0.902 + n / 100) for n in range(8)]
    rows = seeds("wild", wild) + [item for n, values in enumerate(steady) for item in seeds(f"steady{n}", values)]
    found = recorded(tmp_path, rows)
    ordered = found.rows.sort_values("accuracy", ascending=False)
    near = (ordered["best"] | ordered["near_best"]).tolist()
    assert near == sorted(near, reverse=True), "none is near the best below one that is not"
    assert not row(found, "wild")["near_best"]


def test_a_negligible_difference_does_not_tell_a_method_from_the_best(tmp_path):
    rows = seeds("imp", (0.90, 0.91, 0.92)) + seeds("snip", (0.897, 0.907, 0.917)) + seeds("rigl", (0.5, 0.51, 0.52))
    assert not row(recorded(tmp_path, rows), "snip")["near_best"], "the same at every seed, but for 0.3 points"
    found = summarise(results(tmp_path), negligible=0.5)
    assert row(found, "snip")["near_best"] and not row(found, "rigl")["near_best"]


def test_one_seed_gives_no_interval_and_no_bold(tmp_path):
    found = recorded(tmp_path, [(planned("imp", 0.5, 0), 0.9), (planned("snip", 0.5, 0), 0.8)])
    assert not found.rows["best"].any() and found.rows["accuracy_lower"].isna().all()
    assert "±" not in formatted(found, "md").split("\n\n")[1] and found.rows["p"].isna().all()


@pytest.mark.parametrize("loss", ["diverged", "failed", "missing"])
def test_a_cell_that_lost_a_seed_is_neither_ranked_nor_best_nor_in_an_area(tmp_path, loss):
    rows = seeds("imp", (0.99, 0.99, loss)) + seeds("snip", (0.90, 0.91, 0.92)) + seeds("rigl", (0.80, 0.81, 0.82))
    rows += [(planned(name, 0.9, seed), 0.7) for name in ("imp", "snip", "rigl") for seed in range(3)]
    found = recorded(tmp_path, rows)
    imp, snip = row(found, "imp"), row(found, "snip")
    assert np.isnan(imp["rank"]) and not imp["best"] and np.isnan(imp["area"])
    assert snip["rank"] == 1 and snip["best"] and 70 < snip["area"] < 91
    whole = overall(found, averaged(found)).set_index("method")
    assert whole.loc["imp", ["cells", "asked"]].tolist() == [1, 2]
    assert whole.index[-1] == "imp", "who was ranked in fewer cells stands below"
    assert np.isnan(whole.loc["imp", "mean_rank"]) and whole.loc["snip", "mean_rank"] == 1.25


def test_a_method_whose_worst_record_was_deleted_gains_nothing_by_it(tmp_path):
    rows = seeds("imp", (0.90, 0.91, 0.92)) + seeds("snip", (0.70, 0.93, 0.94))
    assert row(recorded(tmp_path, rows), "imp")["rank"] == 1
    record_path(tmp_path, rows[3][0].experiment.key).unlink()
    found = summarise(results(tmp_path))
    snip = row(found, "snip")
    assert (snip["n"], snip["missing"]) == (2, 1) and np.isnan(snip["rank"]) and not snip["best"]
    assert row(found, "imp")["rank"] == 1


def test_methods_without_a_common_seed_are_not_told_apart(tmp_path):
    rows = seeds("imp", (0.90, 0.91, 0.92)) + [(planned("snip", 0.5, seed), 0.5 + seed / 100) for seed in (3, 4, 5)]
    rows += [(planned("once", 0.5, 6), 0.8), *seeds("worse", (0.80, 0.81, 0.82))]
    found = recorded(tmp_path, rows)
    near = {name: bool(row(found, name)["near_best"]) for name in ("imp", "snip", "once", "worse")}
    assert near == {"imp": False, "snip": True, "once": False, "worse": False}
    assert row(found, "imp")["best"]


def test_controls_are_not_in_the_contest_and_ties_share_their_rank(tmp_path):
    shuffled = {"control": Choice("shuffle")}
    rows = seeds("imp", (0.90, 0.91)) + seeds("snip", (0.91, 0.90)) + seeds("rigl", (0.5, 0.6))
    rows += [(dataclasses.replace(p, label="imp, shuffle"), a) for p, a in seeds("imp", (0.98, 0.99), **shuffled)]
    found = recorded(tmp_path, rows)
    assert [row(found, name)["rank"] for name in ("imp", "snip", "rigl")] == [1.5, 1.5, 3]
    assert np.isnan(row(found, "imp, shuffle")["rank"])


def test_the_area_is_the_mean_over_the_logarithm_of_the_weights_left(tmp_path):
    rows = [(planned("imp", target, s), 0.9) for target in (0.9, 0.99) for s in (0, 1)]
    rows += [(planned("snip", target, s), a) for target, a in ((0.9, 0.9), (0.99, 0.7)) for s in (0, 1)]
    rows += [(planned("once", 0.9, s), 0.9) for s in (0, 1)]
    found = recorded(tmp_path, rows)
    assert row(found, "imp", 0.9)["area"] == pytest.approx(90)
    assert row(found, "snip", 0.9)["area"] == pytest.approx(80)
    assert np.isnan(row(found, "once", 0.9)["area"]), "it was not asked for the same sparsities"


def test_leaderboards_are_by_recipe_and_a_method_with_its_own_stands_in_that_of_its_suite(tmp_path):
    long = dataclasses.replace(RECIPE, batch_size=6)
    other = [
        (dataclasses.replace(planned("imp", 0.5, 0, recipe=long), recipe="longer"), 0.8),
    ]
    rows = [*seeds("imp", (0.9,)), *seeds("snip", (0.9,), own=True, recipe=dataclasses.replace(RECIPE, batch_size=7))]
    write_plan(tmp_path, "second", [other[0][0]])
    write_document(tmp_path, {**record(*other[0]), "suite": "second"})
    found = recorded(tmp_path, rows)
    assert [table.title for table in tables(found)] == [
        "lenet_300_100 on digits, recipe longer",
        "lenet_300_100 on digits, recipe r",
    ]
    assert [list(cells_of(table)) for table in tables(found)] == [["imp"], ["imp", "snip †"]]


def test_leaderboards_are_sorted_by_what_is_asked_for(tmp_path):
    rows = (
        seeds("dense", (0.5, 0.5), 0.0) + seeds("imp", (0.8, 0.9)) + seeds("snip", (0.9, 0.95)) + seeds("a", (0.1, 0.2))
    )
    found = recorded(tmp_path, rows)

    def order(by):
        return list(dict.fromkeys(arranged(found, by).rows["method"]))

    assert order("50%") == order("0.5") == order("accuracy") == ["dense", "snip", "imp", "a"]
    assert order("-50%") == ["dense", "a", "imp", "snip"]
    assert order("method") == order("Method") == ["dense", "a", "imp", "snip"]
    assert order("Accuracy") == order("accuracy") and order("-ACCURACY") == order("-accuracy")
    moved = arranged(found, "50%")
    assert np.nanmean(moved.samples.accuracy, axis=1) == pytest.approx(moved.rows["accuracy"])
    for wrong, words in (("70%", "there are 0, 0.5"), ("nonsense", "known: a sparsity")):
        with pytest.raises(LookupError, match=words):
            arranged(found, wrong)


# ---- verdicts --------------------------------------------------------------------------------------------------------


def with_redrawn(method, control, dense=(0.900, 0.901, 0.902)):
    rows = seeds("dense", dense, 0.0) + seeds("imp", method)
    again = seeds("imp", control, control=Choice("redraw"))
    return rows + [(dataclasses.replace(p, label="imp, redraw"), a) for p, a in again]


@pytest.mark.parametrize(
    ("rows", "verdict", "why"),
    [
        (with_redrawn((0.901, 0.901, 0.903), (0.88, 0.881, 0.882)), "wins", "as good as dense.*better than its mask"),
        (with_redrawn((0.899, 0.900, 0.900), (0.88, 0.881, 0.882)), "wins", r"as good as dense \(-0.2"),
        (with_redrawn((0.880, 0.881, 0.882), (0.86, 0.861, 0.862)), "fails", "worse than dense .-2.00 to -2.00 points"),
        (with_redrawn((0.901, 0.901, 0.903), (0.90, 0.902, 0.902)), "unknown", "not told from its mask re-drawn"),
        (with_redrawn((0.901, 0.901, 0.903), (0.88, 0.881, 0.882))[:6], "unknown", "no control redraw"),
        (with_redrawn((0.901, 0.901, "failed"), (0.88, 0.881, 0.882)), "unknown", "1 failed"),
        (with_redrawn((0.901, 0.901, "missing"), (0.88, 0.881, 0.882)), "unknown", "1 missing"),
        (with_redrawn((0.901, 0.901, 0.903), (0.91, 0.911, 0.913)), "fails", "; worse than its mask re-drawn"),
        (with_redrawn((0.88, 0.90, 0.92), (0.8, 0.8, 0.8)), "unknown", "not told from dense"),
        (seeds("imp", (0.9, 0.9)), "unknown", "no dense run"),
        (seeds("imp", ("failed",)), "unknown", "no seed finished; 1 failed"),
    ],
)
def test_winning_tickets(tmp_path, rows, verdict, why):
    found = verdicts(recorded(tmp_path, rows))
    (only,) = found.to_dict("records")
    assert only["verdict"] == verdict
    assert pd.Series([only["why"]]).str.contains(why).all(), only["why"]


def steps_of(rows, **found):
    """Rows with the early-stop step and whether it is censored, by label and seed."""
    made = []
    for item, accuracy in rows:
        step, censored = found.get(item.label, {}).get(item.experiment.seed, (10, False))
        early = {"accuracy": accuracy, "loss": 1.0, "step": step, "censored": censored}
        last = {**early, "step": 20}
        made.append((item, {"test": {"last": last, "best_validation": early, "early_stop": early}}))
    return made


@pytest.mark.parametrize(
    ("steps", "verdict", "why"),
    [
        ({0: (5, False), 1: (6, False), 2: (5, False)}, "wins", r"in no more steps \(-6 to -4 steps\)"),
        ({0: (15, False), 1: (16, False), 2: (15, False)}, "fails", r"; in more steps \(\+4 to \+6 steps\)"),
        ({0: (12, False), 1: (6, False), 2: (13, False)}, "unknown", "steps not told apart"),
        ({0: (20, True), 1: (20, True), 2: (19, False)}, "fails", "in more steps"),
    ],
)
def test_whether_a_ticket_needs_more_steps_is_a_paired_test(tmp_path, steps, verdict, why):
    rows = with_redrawn((0.901, 0.901, 0.903), (0.88, 0.881, 0.882))
    (only,) = verdicts(recorded(tmp_path, steps_of(rows, imp=steps))).to_dict("records")
    assert only["verdict"] == verdict
    assert re.search(why, only["why"]), only["why"]


def test_steps_that_are_censored_in_both_networks_tell_nothing(tmp_path):
    rows = with_redrawn((0.901, 0.901, 0.903), (0.88, 0.881, 0.882))
    at_the_end = dict.fromkeys(range(3), (20, True))
    (only,) = verdicts(recorded(tmp_path, steps_of(rows, imp=at_the_end, dense=at_the_end))).to_dict("records")
    assert only["verdict"] == "unknown"
    assert "steps not told apart (steps to the lowest loss not measured)" in only["why"]


@pytest.mark.parametrize(("step", "is_ticket"), [(0, True), (2, True), (3, False), (10, False)])
def test_only_tickets_get_a_verdict(tmp_path, step, is_ticket):
    """The last step of these records is 10."""
    rows = with_redrawn((0.901, 0.901, 0.903), (0.88, 0.881, 0.882))
    write_run(tmp_path, rows, lambda item, value: record(item, value, ticket={"step": step, "sha256": ""}))
    found = verdicts(summarise(results(tmp_path)))
    assert list(found["method"]) == ["imp"] * is_ticket


def test_a_control_that_trains_what_its_method_did_not_is_not_comparable(tmp_path):
    rows = with_redrawn((0.5, 0.5, 0.5), (0.9, 0.91, 0.92))
    at = {"imp": 10, "imp, redraw": 0, "dense": 0}
    write_run(tmp_path, rows, lambda item, value: record(item, value, ticket={"step": at[item.label], "sha256": ""}))
    (badge,) = badges(summarise(results(tmp_path))).to_dict("records")
    assert badge["verdict"] == "not comparable" and np.isnan(badge["difference"])


def test_a_control_lacks_the_loss_that_its_method_says_is_its_own(tmp_path, monkeypatch):
    rows = with_redrawn((0.901, 0.901, 0.903), (0.88, 0.881, 0.882))
    monkeypatch.setattr("lth_bench.results.verdicts.has_own_loss", lambda pruner: pruner == "imp")
    found = recorded(tmp_path, rows)
    assert badges(found)["verdict"].tolist() == ["not comparable"]
    assert "no control redraw" in verdicts(found)["why"].iloc[0]


def test_what_only_finds_tickets_for_others_does_not_compete(tmp_path):
    rows = seeds("imp", (0.90, 0.91)) + seeds("snip", (0.91, 0.92)) + seeds("dense", (0.9, 0.9), 0.0)
    helped = [(dataclasses.replace(p, helper=True), a) for p, a in seeds("helper", (0.98, 0.99))]
    found = recorded(tmp_path, rows + helped)
    helper = row(found, "helper")
    assert np.isnan(helper[["rank", "p_holm", "area"]].astype(float)).all()
    assert not helper[["best", "second", "near_best"]].any()
    assert row(found, "snip")["best"] and row(found, "imp")["rank"] == 2
    assert "helper" not in set(verdicts(found)["method"]) | set(overall(found, averaged(found))["method"])


def test_badges_are_paired_by_seed_and_averaged_over_targets(tmp_path):
    shuffled = {"control": Choice("shuffle")}
    rows = seeds("imp", (0.90, 0.91, 0.92)) + seeds("imp", (0.80, 0.81, 0.82), 0.9)
    for target, values in ((0.5, (0.89, 0.90, 0.90)), (0.9, (0.70, 0.70, 0.72))):
        again = seeds("imp", values, target, **shuffled)
        rows += [(dataclasses.replace(p, label="imp, shuffle"), a) for p, a in again]
    (badge,) = badges(recorded(tmp_path, rows)).to_dict("records")
    differences = [(1 + 10) / 2, (1 + 11) / 2, (2 + 10) / 2]
    wanted = stats.ttest_1samp(differences, 0).confidence_interval()
    assert badge["difference"] == pytest.approx(np.mean(differences))
    assert (badge["lower"], badge["upper"]) == pytest.approx((wanted.low, wanted.high))
    assert (badge["verdict"], badge["n"], badge["targets"], badge["control"]) == ("yes", 3, 2, "shuffle")
    assert badge["question"] == "Does it matter which weights of a layer are kept?"


def test_controls_say_what_they_ask_and_of_others_the_name_is_told(tmp_path):
    assert rivals() == ("redraw",)
    asked = {name: question(name) for name in ("sign", "transfer", "theirs")}
    assert asked["sign"].startswith("Do the sizes of the initial weights matter")
    assert asked["theirs"] == "Is it better than its control theirs?" and "transfer?" in asked["transfer"]


def test_a_ticket_has_to_beat_all_rivals(tmp_path, monkeypatch):
    monkeypatch.setattr("lth_bench.results.verdicts.rivals", lambda: ("redraw", "theirs"))
    rows = with_redrawn((0.901, 0.901, 0.903), (0.88, 0.881, 0.882))
    again = seeds("imp", (0.91, 0.911, 0.913), control=Choice("theirs"))
    rows += [(dataclasses.replace(p, label="imp, theirs"), a) for p, a in again]
    (only,) = verdicts(recorded(tmp_path, rows)).to_dict("records")
    assert only["verdict"] == "fails" and "worse than its mask re-drawn" in only["why"]


def test_details_for_programs_carry_every_figure(tmp_path):
    found = recorded(tmp_path, with_redrawn((0.901, 0.901, 0.903), (0.88, 0.881, 0.882)))
    table = pd.read_csv(io.StringIO(formatted(found, "csv")))
    assert list(table.columns) == list(numbers(found).columns)
    rows = json.loads(formatted(found, "json"))
    imp = next(entry for entry in rows if entry["method"] == "imp")
    assert imp["verdict"] == "wins" and imp["accuracy"] == pytest.approx(90.1667, abs=1e-4)
    assert imp["training_flops"] is None, "records from before costs have none"


# ---- several directories ---------------------------------------------------------------------------------------------


def filled(folder, rows, **fields):
    write_plan(folder, "made", [item for item, _ in rows])
    for item, value in rows:
        write_document(folder, {**record(item, value), **fields})
    return folder


def test_directories_that_can_be_compared_become_one(tmp_path):
    one = filled(tmp_path / "one", seeds("dense", DENSE, 0.0) + seeds("imp", DENSE))
    other = filled(tmp_path / "other", seeds("dense", DENSE, 0.0) + seeds("snip", (0.91, 0.93, 0.95)))
    found = summarise(load_all([one, other, one]).frame)
    assert list(found.rows["method"]) == ["dense", "imp", "snip"]
    assert row(found, "snip")["difference"] == pytest.approx(1), "paired with the dense runs of either"
    assert list(found.rows["n"]) == [3, 3, 3]


def test_a_record_that_is_done_counts_before_one_that_is_missing(tmp_path):
    rows = seeds("imp", DENSE)
    write_plan(tmp_path / "one", "made", [item for item, _ in rows])
    (tmp_path / "one" / "records").mkdir()
    other = filled(tmp_path / "other", rows)
    assert set(load_all([tmp_path / "one", other]).frame["status"]) == {"done"}


def test_equal_results_of_one_experiment_become_one_whatever_time_they_took(tmp_path):
    one = filled(tmp_path / "one", seeds("imp", DENSE))
    other = filled(tmp_path / "other", seeds("imp", DENSE), timing={"seconds": 99.0, "latency": 0.1, "peak_memory": 7})
    assert len(load_all([one, other]).frame) == 3


def test_different_results_of_one_experiment_are_refused_by_name_in_either_order(tmp_path, command):
    one, other = tmp_path / "one", tmp_path / "other"
    write_run(one, seeds("imp", (0.90, 0.92, "failed")))
    write_run(other, seeds("imp", (0.90, 0.93, 0.94)))
    key = planned("imp", 0.5, 1).experiment.key
    for pair in ([one, other], [other, one]):
        with pytest.raises(FileFault) as caught:
            load_all(pair)
        first, line, advice = str(caught.value).splitlines()
        assert "different results" in first and "one at a time" in advice
        assert line.startswith(f"- imp, lenet_300_100 on digits, sparsity 0.5, seed 1 ({key}): last accuracy ")
        assert f"92.0 in {one}" in line and f"93.0 in {other}" in line
    done = command("leaderboard", one, other)
    assert done.returncode == 2 and "different results" in done.stderr and key in done.stderr


def test_results_that_differ_in_a_loss_alone_are_different(tmp_path):
    point = {"accuracy": 0.9, "loss": 1.0, "step": 10, "censored": False}
    rows = [(planned("imp", 0.5, 0), 0.9)]
    one = filled(tmp_path / "one", rows)
    other = filled(tmp_path / "other", rows, test={"last": {**point, "loss": 1.5}})
    with pytest.raises(FileFault, match=r"loss 1\.0 in .*one, 1\.5 in .*other"):
        load_all([one, other])


@pytest.mark.parametrize(
    ("changes", "fields", "words"),
    [
        (
            {"recipe": dataclasses.replace(RECIPE, batch_size=6)},
            {},
            r"recipe differs in batch_size \(5 against 6\)",
        ),
        (
            {"model": Choice("lenet_300_100", {"width": 2})},
            {},
            "model's options differ: lenet_300_100 against lenet",
        ),
        (
            {"dataset": Choice("digits", {"validation": 7})},
            {},
            r"set's options differ: digits against digits \(",
        ),
        ({}, {"data": {"training": "b" * 64, "test": "c" * 64}}, "the data differ: their hashes are aaaaaaaa"),
    ],
)
def test_what_cannot_be_compared_is_refused_and_told_apart(tmp_path, changes, fields, words):
    one = filled(tmp_path / "one", seeds("imp", DENSE), data={"training": "a" * 64, "test": "a" * 64})
    other = filled(tmp_path / "other", seeds("snip", DENSE, **changes), **fields)
    with pytest.raises(FileFault, match=words) as caught:
        load_all([one, other])
    assert "one" in str(caught.value) and "other" in str(caught.value)


def test_the_command_merges_sorts_and_refuses(tmp_path):
    one = filled(tmp_path / "one", seeds("imp", (0.8, 0.8)))
    other = filled(tmp_path / "other", seeds("snip", (0.9, 0.9)))
    run = CliRunner().invoke
    done = run(app, ["leaderboard", str(one), str(other), "--format", "csv", "--sort", "50%"])
    assert done.exit_code == 0
    assert list(pd.read_csv(io.StringIO(done.stdout))["method"]) == ["snip", "imp"]
    wrong = run(app, ["leaderboard", str(one), "--sort", "70%"])
    assert wrong.exit_code == 2 and "no leaderboard has a sparsity of 70%; there are 0.5" in wrong.stderr
    several = run(app, ["report", str(one), str(other)])
    assert several.exit_code == 2 and "--out says where to write" in several.stderr


# ---- overlaps --------------------------------------------------------------------------------------------------------


def test_overlaps_of_masks_by_hand(tmp_path):
    masks = {
        ("imp", 0): "11110000", ("imp", 1): "11000000", ("snip", 0): "00111100", ("snip", 1): "11000000",
    }  # fmt: skip
    for (label, seed), bits in masks.items():
        packed = np.packbits(np.array([int(bit) for bit in bits], dtype=np.uint8))
        final = np.zeros(8, dtype=np.float32)
        content = save({"mask/a": packed, "mask/b": packed, "final/a": final, "final/b": final})
        item = planned(label, 0.5, seed)
        path = ticket_path(tmp_path, item.experiment.key)
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(content)
        layers = {name: {"size": 8, "mask": bits.count("1"), "kept": 0} for name in ("a", "b")}
        ticket = {"sha256": sha256(content), "step": 0}
        write_document(tmp_path, record(item, 0.9, ticket=ticket, sparsity={"measured": 0.5, "layers": layers}))
    found = overlaps(load(tmp_path))
    overlap = found.pivot(index="method", columns="other", values="overlap")
    assert overlap.loc["imp", "snip"] == overlap.loc["snip", "imp"] == pytest.approx((2 / 6 + 1) / 2)
    assert overlap.loc["imp", "imp"] == 0.5 and overlap.loc["snip", "snip"] == 0
    assert list(found["n"]) == [1, 2, 2, 1]
    # In each layer 4 and 4 of 8 weights share 2 by chance, 2 and 2 share 1/2, and 4 and 2 share 1.
    chance = found.pivot(index="method", columns="other", values="chance")
    assert chance.loc["imp", "snip"] == pytest.approx((4 / 12 + 1 / 7) / 2)
    assert chance.loc["imp", "imp"] == chance.loc["snip", "snip"] == pytest.approx(2 / 10)
    (matrix,) = matrices(found).values()
    assert matrix.loc["imp", "imp"] == pytest.approx((0.5 - 0.2) / (1 - 0.2))
    assert matrix.loc["snip", "snip"] == pytest.approx((0 - 0.2) / (1 - 0.2))
    # What was found outlives the tickets.
    write_overlaps(found, tmp_path)
    for path in (tmp_path / "tickets").iterdir():
        path.unlink()
    pd.testing.assert_frame_equal(overlaps(load(tmp_path)), found, check_dtype=False, rtol=1e-5)
    # Tables that were published without the levels of chance get them from their records.
    path = tmp_path / "overlap.csv"
    pd.read_csv(path).drop(columns=["chance", "excess"]).to_csv(path, index=False)
    pd.testing.assert_frame_equal(overlaps(load(tmp_path)), found, check_dtype=False, rtol=1e-5)


def test_a_ticket_of_something_else_is_named_and_left_out(tmp_path):
    item = planned("imp", 0.5, 0)
    write_document(tmp_path, record(item, 0.9, ticket={"sha256": "0" * 64, "step": 0}))
    path = ticket_path(tmp_path, item.experiment.key)
    path.parent.mkdir()
    path.write_bytes(save({"mask/a": np.zeros(1, dtype=np.uint8)}))
    results = load(tmp_path)
    assert overlaps(results).empty
    (left_out,) = results.evidence.left_out
    assert left_out.key == item.experiment.key and "its hash differs" in left_out.message
