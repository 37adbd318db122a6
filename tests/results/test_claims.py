"""Claims of each relation on results by hand: shown, contradicted, not told, and what is missing."""

from __future__ import annotations

import dataclasses
import json
from types import SimpleNamespace

import pandas as pd
import pytest
from pydantic import ValidationError
from scipy import stats

from lth_bench.experiments.claims import METRICS, ClaimEntry
from lth_bench.experiments.experiment import Choice
from lth_bench.reports.claims import formatted, lines
from lth_bench.results.claims import COLUMNS, judged
from lth_bench.results.frame import load
from support.records import planned, recorded

DENSE = (0.97, 0.98, 0.99)


def results(tmp_path, **accuracies):
    """The table of dense networks and of methods at 90 %, with an accuracy for each seed."""
    rows = [(planned("dense", 0.0, seed), value) for seed, value in enumerate(DENSE)]
    rows += [
        (planned(name, 0.9, seed), value) for name, values in accuracies.items() for seed, value in enumerate(values)
    ]
    recorded(tmp_path, rows)
    return load(tmp_path).frame


def claim(relation, by=None, right=None, **more):
    stated = {"text": "so", "left": {"method": "imp"}, "relation": relation, "right": right or {"method": "dense"}}
    return ClaimEntry.model_validate(stated | ({} if by is None else {"by": by}) | more)


def one(stated, frame, analyses=()):
    (found,) = judged([stated], frame, analyses)
    return found


@pytest.mark.parametrize(
    ("imp", "relation", "by", "verdict"),
    [
        ((0.98, 0.99, 0.9999), ">", None, "shown"),
        ((0.96, 0.97, 0.9799), ">", None, "contradicted"),
        ((0.99, 0.97, 0.99), ">", None, "not told"),
        ((0.97, 0.98, 0.99), ">", None, "not told"),
        ((0.96, 0.97, 0.9799), "<", None, "shown"),
        ((0.98, 0.99, 0.9999), "<", None, "contradicted"),
        ((0.97, 0.98, 0.99), "<", None, "not told"),
        ((0.972, 0.982, 0.992), "≈", 0.5, "shown"),
        ((0.972, 0.982, 0.992), "≈", 0.1, "contradicted"),
        ((0.962, 0.984, 0.992), "≈", 0.5, "not told"),
        ((0.97, 0.98, 0.99), "≈", 0, "shown"),
        ((0.972, 0.982, 0.992), "≈", "1%", "shown"),
        ((0.952, 0.962, 0.972), "≈", "1%", "contradicted"),
        ((0.98, 0.99, 0.9999), "at least by", 0.9, "shown"),
        ((0.98, 0.99, 0.9999), "at least by", 1.2, "contradicted"),
        ((0.98, 0.985, 0.9999), "at least by", 0.9, "not told"),
        ((0.96, 0.97, 0.98), "at most by", -0.9, "shown"),
        ((0.96, 0.97, 0.98), "at most by", -1.5, "contradicted"),
        ((0.49, 0.48, 0.5), "at most by", "-45%", "shown"),
        ((0.59, 0.58, 0.6), "at most by", "-45%", "contradicted"),
        ((0.49, 0.48, 0.6), "at most by", "-45%", "not told"),
    ],
)
def test_a_relation_is_judged_by_the_paired_interval(tmp_path, imp, relation, by, verdict):
    found = one(claim(relation, by), results(tmp_path, imp=imp))
    assert (found.verdict, found.n, found.why) == (verdict, 3, "")


def test_the_interval_is_that_of_the_paired_t_test(tmp_path):
    imp = (0.98, 0.985, 0.9999)
    frame = results(tmp_path, imp=imp)
    interval = stats.ttest_rel([100 * value for value in imp], [100 * value for value in DENSE]).confidence_interval()
    found = one(claim(">"), frame)
    assert (found.lower, found.upper) == pytest.approx((interval.low, interval.high))
    share = one(claim("at least by", "0.5%"), frame)
    assert (share.lower, share.upper) == pytest.approx((interval.low / 98, interval.high / 98))


def test_a_published_number_has_no_spread_an_uncertainty_or_a_spread_over_seeds(tmp_path):
    imp = (0.96, 0.97, 0.98)
    frame = results(tmp_path, imp=imp)
    percents = [100 * value for value in imp]
    plain = one(claim("≈", 5, right=96.0), frame)
    alone = stats.ttest_1samp(percents, 96.0).confidence_interval()
    assert (plain.right, plain.verdict) == (96.0, "shown")
    assert (plain.lower + 96, plain.upper + 96) == pytest.approx((alone.low, alone.high))
    off = one(claim("≈", 5, right={"value": 96.0, "spread": 0.5}), frame)
    assert (off.lower, off.upper) == pytest.approx((plain.lower - 0.5, plain.upper + 0.5))
    assert off.difference == pytest.approx(1.0)
    seeds = one(claim("≈", 5, right={"value": 96.0, "spread": 0.5, "seeds": 5}), frame)
    p = stats.ttest_ind_from_stats(97.0, 1.0, 3, 96.0, 0.5, 5, equal_var=False).pvalue
    assert seeds.lower < 0 < p
    at_its_p = one(claim(">", right={"value": 96.0, "spread": 0.5, "seeds": 5}, level=1 - p), frame)
    assert at_its_p.lower == pytest.approx(0.0, abs=1e-9)


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"left": {"method": "none"}}, "no results of such rows"),
        ({"left": {"method": "imp", "sparsity": 0.5}}, "no results of such rows"),
        ({"left": {"method": "imp", "model": "none"}}, "no results of such rows"),
        ({"metric": "early_stop_step", "right": {"method": "lost"}}, "no early_stop_step of lost"),
        ({"analysis": "signs", "metric": "agreement"}, "the analysis signs was not run, or with other parameters"),
    ],
)
def test_what_is_missing_is_not_told(tmp_path, changes, why):
    frame = results(tmp_path, imp=DENSE, lost=("failed", "failed", "failed"))
    found = one(claim(">", **changes), frame)
    assert (found.verdict, found.n) == ("not told", 0)
    assert why in found.why


def test_one_seed_tells_nothing_and_seeds_without_a_partner_do_not_count(tmp_path):
    single = one(claim(">"), results(tmp_path / "one", imp=(0.99, "failed", "missing")))
    assert (single.verdict, single.n, single.why) == ("not told", 1, "one seed has no interval")
    two = one(claim(">"), results(tmp_path / "two", imp=(0.98, "diverged", 0.9999)))
    assert (two.n, two.left) == (2, pytest.approx(98.995))


def test_a_claim_without_a_model_is_judged_on_each(tmp_path):
    rows = [
        (planned(name, sparsity, seed, model=Choice(model)), value + better * (name == "imp"))
        for model, better in (("lenet_300_100", 0.01), ("lenet_5", -0.01))
        for name, sparsity in (("dense", 0.0), ("imp", 0.9))
        for seed, value in enumerate(DENSE[:2])
    ]
    recorded(tmp_path, rows)
    frame = load(tmp_path).frame
    assert [found.verdict for found in judged([claim(">")], frame, [])] == ["shown", "contradicted"]
    stated = claim(">", model="lenet_5")
    assert [(found.place, found.verdict) for found in judged([stated], frame, [])] == [
        ("lenet_5 on digits", "contradicted")
    ]
    sides = {"left": {"method": "imp", "model": "lenet_300_100"}, "right": {"method": "imp", "model": "lenet_5"}}
    (across,) = judged([claim(">", **sides)], frame, [])
    assert (across.place, across.verdict) == ("lenet_300_100 on digits and lenet_5 on digits", "shown")


def test_a_control_is_named_by_its_method_and_its_own_name(tmp_path):
    rows = []
    for seed, value in enumerate(DENSE):
        item = planned("imp", 0.9, seed)
        drawn = dataclasses.replace(item.experiment, control=Choice("redraw"))
        rows += [(item, value), (dataclasses.replace(item, label="imp, anew", experiment=drawn), value - 0.02)]
    recorded(tmp_path, rows)
    stated = claim(">", right={"method": "imp", "control": "redraw", "sparsity": 0.9})
    found = one(stated, load(tmp_path).frame)
    assert (found.verdict, found.difference) == ("shown", pytest.approx(2.0))


def test_numbers_of_analyses_are_chosen_by_parameters_and_rows(tmp_path):
    frame = results(tmp_path, imp=DENSE)
    keys = frame[frame["method"] == "imp"]["key"]
    rows = [
        {"key": key, "seed": seed, "layer": layer, "agreement": value + seed / 100}
        for seed, key in enumerate(keys)
        for layer, value in (("all", 0.9), ("fc", 0.2))
    ]
    found = SimpleNamespace(choice=Choice("signs", {"moments": 0}), rows=pd.DataFrame(rows))
    stated = {
        "analysis": {"name": "signs", "arguments": {"moments": 0}},
        "metric": "agreement",
        "where": {"layer": "all"},
        "right": 0.5,
    }
    shown = one(claim("at least by", 0.3, **stated), frame, [found])
    assert (shown.verdict, shown.left) == ("shown", pytest.approx(0.91))
    other = {**stated, "analysis": "signs"}
    assert one(claim("at least by", 0.3, **other), frame, [found]).why.endswith("or with other parameters")
    nowhere = one(claim("at least by", 0.3, **{**stated, "where": {"layer": "none"}}), frame, [found])
    assert nowhere.why == "no agreement of imp in the analysis signs"


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"relation": ">", "by": 1}, "relation '>' has no amount"),
        ({"relation": "at least by"}, "wants an amount, such as by = 0.5"),
        ({"relation": "≈", "by": -0.5}, "a tolerance is not below zero"),
        ({"relation": "≥", "by": 0.5}, "Input should be '>', '<', '≈'"),
        ({"relation": "≈", "by": "half"}, "String should match"),
        ({"relation": ">", "level": 1.0}, "less than 1"),
        ({"relation": ">", "right": {"value": float("nan")}}, "finite number"),
        ({"relation": ">", "right": {"value": 1.0, "seeds": 1}}, "greater than or equal to 2"),
    ],
)
def test_claims_that_say_nothing_are_refused(changes, words):
    with pytest.raises(ValidationError, match=words.replace("(", r"\(")):
        ClaimEntry.model_validate({"text": "so", "left": {"method": "a"}, "right": {"method": "b"}, **changes})


def test_every_metric_is_a_column_of_results(tmp_path):
    assert set(COLUMNS) == set(METRICS)
    assert set(COLUMNS.values()) <= set(results(tmp_path, imp=DENSE).columns)


def test_claims_are_shown_as_lines_tables_and_numbers(tmp_path):
    frame = results(tmp_path, imp=(0.98, 0.99, 0.9999))
    found = list(
        judged([claim("at least by", 0.5, source="A & B 2020"), claim(">", right={"method": "no"})], frame, [])
    )
    (_, words, measured), (_, _, missing) = lines(found)
    assert words == "so (A & B 2020)"
    assert measured.startswith("lenet_300_100 on digits: 99.00 and 98.00 points; difference 1.00 [0.98, 1.01]")
    assert measured.endswith("claimed ≥ 0.5 points; 3 seeds")
    assert missing == "no results of such rows"
    assert "| so" in formatted(found, "md")
    assert [row["verdict"] for row in json.loads(formatted(found, "json"))] == ["shown", "not told"]
    assert "=" not in {row[0] for row in formatted([*found], "csv").splitlines()}
