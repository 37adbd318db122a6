"""The analysis of overlap."""

from __future__ import annotations

import pytest
import torch

from lth_bench.errors import Unsuitable
from lth_bench.results.analyses import analyses, summary
from lth_bench.results.frame import load
from lth_bench.results.overlap import overlaps
from lth_bench.storage.record import builtins
from lth_bench.storage.records import analysis_path, record_path
from lth_bench.storage.sealed import publish_json
from lth_bench_plugins.overlap import Overlap, agreement
from support.analyses import analysed, study_of
from support.suites import finish, pruner, write_suite

PAIR = ["method", "other_method"]


@pytest.fixture
def directory(tmp_path):
    pruners = pruner("dense", sparsities=[0]) + pruner("magnitude") + pruner("snip")
    finish(write_suite(tmp_path / "s.toml", pruners, duration="1ep", seeds=[0, 1]), tmp_path / "run")
    return tmp_path / "run"


def masks(*bits):
    return {f"layer{number}": torch.tensor(row, dtype=torch.bool) for number, row in enumerate(bits)}


def test_overlap_by_hand():
    one, other = masks([1, 1, 0, 0], [1, 0]), masks([1, 0, 1, 0], [1, 0])
    found = agreement(one, other)
    assert found["overlap"] == 2 / 4
    assert found["chance"] == (4 * 0.5 * 0.5 + 2 * 0.5 * 0.5) / (4 * 0.75 + 2 * 0.75) == 1 / 3
    assert found["excess"] == pytest.approx((1 / 2 - 1 / 3) / (2 / 3))
    assert agreement(one, one)["excess"] == 1
    full = masks([1, 1])
    assert agreement(full, full) == {"overlap": 1.0, "chance": 1.0}, "above a chance of 1 nothing is"
    assert agreement(masks([0, 0]), masks([0, 0])) == {}


def test_it_agrees_with_the_overlaps_of_the_tables_in_whatever_order_tickets_came(directory):
    order = [("snip", 0), ("magnitude", 0), ("magnitude", 1), ("snip", 1)]
    for label, seed in order:
        for sparsity in (0.5, 0.9):
            study = study_of(directory, {"snip": "SNIP"}.get(label, label), seed, sparsity=sparsity)
            record = analysed(study, "overlap")
            assert record.status == "done", record.error
            publish_json(record_path(analysis_path(directory, "overlap"), record.key), builtins(record))
    results = load(directory)
    (found,) = analyses(results)
    mine = summary(found.rows).set_index([*PAIR, "target"])
    tables = overlaps(results).rename(columns={"other": "other_method"}).set_index([*PAIR, "target"])
    assert len(mine) == 6, "three pairs of methods at two targets, in one direction"
    for column, apart in (("overlap", 1e-9), ("chance", 1e-9), ("excess", 1e-3)):  # tables: the excess of means
        assert mine[column].to_dict() == pytest.approx(tables.loc[mine.index, column].to_dict(), rel=apart)
    assert mine["n"].to_dict() == tables.loc[mine.index, "n"].to_dict()


def test_with_rounds_other_targets_of_one_method_and_seed_are_compared(directory):
    study = study_of(directory, "magnitude", 0)
    targets = {peer.key: peer.experiment.sparsity for peer in study.peers}
    rows = list(Overlap(rounds=True)(study))
    plain = list(Overlap()(study_of(directory, "magnitude", 0)))
    more = [row for row in rows if row not in plain]
    assert len(more) == 1 and targets[more[0]["other"]] == 0.9 and more[0]["excess"] > 0


def test_a_ticket_that_prunes_nothing_does_not_suit(directory):
    with pytest.raises(Unsuitable, match="prunes nothing"):
        list(Overlap()(study_of(directory, "dense")))
