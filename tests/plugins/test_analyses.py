"""The contract of every analysis: what it yields, what it leaves alone, and how it is shown."""

from __future__ import annotations

import inspect
import math
import re
from functools import cache

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


SETUPS = {
    "boundary": {"model": '{ name = "mlp", arguments = { widths = [20] } }', "datasets": ["moons"]},
    "transfer_matrix": {"datasets": ["digits", "digits_0_4"]},
}
"""Of analyses that do not apply to any network."""


@pytest.fixture(scope="module")
def directory_of(tmp_path_factory):
    """Tickets of a method that trains them from step 0, of one that prunes at the end, and of a dense network."""

    @cache
    def made(name):
        folder = tmp_path_factory.mktemp("contract")
        pruners = pruner("dense", sparsities=[0]) + pruner("magnitude") + pruner("snip")
        changes = {"duration": "1ep", "sparsities": [0.9], "seeds": [0, 1], **SETUPS.get(name, {})}
        finish(write_suite(folder / "s.toml", pruners, **changes), folder / "run")
        return folder / "run"

    return lambda name: made(name if name in SETUPS else "any")


@pytest.fixture(scope="module")
def found(directory_of):
    """By name: the records of an analysis of every experiment, computed once."""

    @cache
    def records(name):
        labels = [(label, seed) for label in ("dense", "magnitude", "SNIP") for seed in (0, 1)]
        return [analysed(study_of(directory_of(name), *place), name) for place in labels]

    return records


def files(directory):
    kept = [path for part in ("records", "tickets") for path in (directory / part).iterdir()]
    return {path: path.read_bytes() for path in kept}


@pytest.mark.parametrize("name", NAMES)
def test_an_analysis_yields_the_same_plain_rows_each_time_and_leaves_records_and_tickets_alone(
    name, directory_of, found
):
    directory = directory_of(name)
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
def test_an_analysis_is_shown_with_a_table_and_a_figure_of_its_own(name, directory_of, found):
    directory = directory_of(name)
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
