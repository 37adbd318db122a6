"""How tables show rows whose target is a pattern that some layers cannot hold."""

from __future__ import annotations

import pytest

from lth_bench.reports.leaderboards import below_targets, formatted, with_missed_targets
from lth_bench.results.frame import load
from lth_bench.results.leaderboard import summarise
from support.suites import finish, pruner, write_suite

NARROW = '{ name = "cifar_resnet20", arguments = { width = 0.25 }, label = "narrow" }'


@pytest.fixture(scope="module")
def leaderboards(tmp_path_factory):
    folder = tmp_path_factory.mktemp("patterns")
    rows = pruner("magnitude", sparsities=[0.5, "2:4"]) + pruner("lamp", sparsities=["2:4"])
    suite = write_suite(folder / "s.toml", rows, duration="1it", rate=0.01)
    suite.write_text(suite.read_text().replace('"lenet_300_100"', NARROW))
    finish(suite, folder / "run")
    return summarise(load(folder / "run").frame)


def test_a_pattern_stands_where_it_was_measured_and_misses_no_target(leaderboards):
    rows = leaderboards.rows.set_index("method")
    assert rows.loc["magnitude, 2:4", "place"] < 0.5 == rows.loc["magnitude", "place"]
    records = leaderboards.rows.to_dict("records")
    assert with_missed_targets(records) == records
    assert "only" not in formatted(leaderboards, "md")


def test_dense_layers_are_said_once_for_all_methods(leaderboards):
    (sentence,) = below_targets(leaderboards.rows)
    assert sentence.startswith("The pattern 2:4 leaves narrow at ")
