"""The contract of every analysis: what it yields, what it leaves alone, and how it is shown."""

from __future__ import annotations

import inspect
import math
import re

import pytest
from matplotlib.figure import Figure

from lth_bench.experiments.about import about
from lth_bench.experiments.plugins import load_plugins
from lth_bench.reports.analyses import notes, shown, tables
from lth_bench.reports.figures.analysed import pictures_of
from lth_bench.results.analyses import analyses
from lth_bench.results.frame import load
from lth_bench.results.leaderboard import summarise
from lth_bench.storage.findings import RESERVED
from lth_bench.storage.record import builtins
from lth_bench.storage.records import analysis_path, record_path
from lth_bench.storage.sealed import publish_json
from support.analyses import analysed, study_of
from support.places import ROOT
from support.suites import finish, pruner, write_suite

NAMES = list(load_plugins().analyses)


@pytest.fixture(scope="module")
def directory(tmp_path_factory):
    """Tickets of a method that trains them from step 0, of one that prunes at the end, and of a dense network.

    On two data sets, as there are analyses of both.
    """
    folder = tmp_path_factory.mktemp("contract")
    pruners = pruner("dense", sparsities=[0]) + pruner("magnitude") + pruner("snip")
    suite = write_suite(folder / "s.toml", pruners, duration="1ep", sparsities=[0.9], seeds=[0, 1])
    suite.write_text(suite.read_text().replace('["digits"]', '["digits", "digits_0_4"]'))
    finish(suite, folder / "run")
    return folder / "run"


@pytest.fixture(scope="module")
def found(directory):
    """By name: the records of an analysis of every experiment, computed once."""
    kept = {}

    def records(name):
        if name not in kept:
            labels = [(label, seed) for label in ("dense", "magnitude", "SNIP") for seed in (0, 1)]
            kept[name] = [analysed(study_of(directory, *place), name) for place in labels]
        return kept[name]

    return records


def files(directory):
    kept = [path for part in ("records", "tickets") for path in (directory / part).iterdir()]
    return {path: path.read_bytes() for path in kept}


@pytest.mark.parametrize("name", NAMES)
def test_an_analysis_yields_the_same_plain_rows_each_time_and_leaves_records_and_tickets_alone(name, directory, found):
    before = files(directory)
    records = found(name)
    assert [record.status for record in records] == ["done"] * 6, [record.error for record in records]
    assert any(record.findings.rows for record in records), "it applies to something here"
    for record in records:
        assert bool(record.findings.rows) != bool(record.findings.reason)
        for row in record.findings.rows:
            assert not set(row) & set(RESERVED)
            assert all(math.isfinite(value) for value in row.values() if not isinstance(value, str))
    again = analysed(study_of(directory, "SNIP", 1), name)
    assert again.findings.rows == records[-1].findings.rows
    assert files(directory) == before


@pytest.mark.parametrize("name", NAMES)
def test_an_analysis_is_shown_with_a_table_and_a_figure_of_its_own(name, directory, found):
    for record in found(name):
        publish_json(record_path(analysis_path(directory, name), record.key), builtins(record))
    results = load(directory)
    (one,) = [one for one in shown(analyses(results)) if one.analysis.choice.name == name]
    made = tables(one)
    assert made and all(table.rows and "could not be made" not in table.caption for table in made)
    assert re.fullmatch(r"Of \d experiments, in .*", notes(one)[0])
    (drawn,) = pictures_of([one], summarise(results.frame)).values()
    for picture in drawn:
        words = [text.get_text() for text in picture.draw().texts]
        assert isinstance(picture.draw(), Figure) and not any("could not be drawn" in text for text in words), words
    assert drawn


@pytest.mark.parametrize("name", NAMES)
def test_an_analysis_says_what_it_asks_and_is_documented(name):
    analysis = load_plugins().analyses[name]
    assert about(analysis).title and analysis.question.endswith("?") and len(analysis.caption) > 20
    assert inspect.getdoc(analysis)
    assert f"| `{name}` |" in (ROOT / "docs" / "analyses.md").read_text()
