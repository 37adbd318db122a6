"""Excerpts of records: what tables read, as fast as it can be read."""

from __future__ import annotations

import dataclasses
import json
import re

import pytest

from lth_bench.errors import Damaged, FileFault
from lth_bench.results import frame as results_module
from lth_bench.results.excerpts import plan_excerpt, read_excerpt
from lth_bench.results.frame import load
from lth_bench.storage.records import plan_path, read_record, record_path, record_paths, write_plan
from lth_bench.storage.sealed import sealed
from support.documents import SPARSITY, whole
from support.records import planned, record, recorded


def filled(folder):
    """Three methods at three seeds; one experiment failed, and one is only planned."""
    rows = [(planned(name, 0.5, seed), 0.9 + seed / 100) for name in ("imp", "snip", "rigl") for seed in range(3)]
    rows[4] = (rows[4][0], "failed")
    recorded(folder, rows)
    write_plan(folder, "made", [*(item for item, _ in rows), planned("imp", 0.9, 0)])


@pytest.mark.parametrize("processors", [2, 3])
def test_many_records_read_by_all_processors_are_those_read_by_one(tmp_path, monkeypatch, processors):
    filled(tmp_path)
    alone = load(tmp_path)
    monkeypatch.setattr(results_module, "MANY", 1)
    monkeypatch.setattr(results_module.os, "cpu_count", lambda: processors)
    together = load(tmp_path)
    assert together.frame.equals(alone.frame) and len(alone.frame) == 10
    assert dataclasses.asdict(together.evidence) == dataclasses.asdict(alone.evidence)
    assert together.recipes == alone.recipes and len(alone.recipes) == 1


def test_a_record_that_is_missing_has_what_its_plan_says(tmp_path):
    filled(tmp_path)
    frame = load(tmp_path).frame.set_index("status")
    assert frame.loc["missing", "label"] == "imp" and frame.loc["missing", "asked"] == 0.9
    assert frame["last_accuracy"].isna().sum() == 2, "that of the failed one, and that of the missing one"


@pytest.mark.parametrize(
    ("damage", "words"),
    [
        (lambda content: content[:-10] + b"}\n", r"is damaged|is not a record"),
        (lambda content: content.replace(b'"label":"imp"', b'"label":"IMP"'), "checksum does not fit"),
        (lambda content: b"", "is not a record"),
        (lambda content: b"[" * 100_000, "is not a record"),
    ],
)
def test_damaged_records_are_refused_as_by_whoever_reads_all_of_them(tmp_path, damage, words):
    recorded(tmp_path, [(planned("imp", 0.5, 0), 0.9)])
    (path,) = record_paths(tmp_path)
    path.write_bytes(damage(path.read_bytes()))
    for read in (read_record, read_excerpt):
        with pytest.raises(Damaged, match=words):
            read(path)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"schema": 2}, "schema 2; this version reads 1"),
        ({"key": "other"}, "is the record of another experiment, 'other'"),
        ({"status": "lost"}, r"the fields of a record: .*'lost' - at `\$\.status`"),
        ({"status": "missing"}, r"the fields of a record: .*'missing' - at `\$\.status`"),
        ({"experiment": None}, "the fields of a record: .*`object`, got `null`"),
        ({"label": 3}, r"the fields of a record: .*\$\.label"),
        ({"events": [{"kept": "all"}]}, r"the fields of a record: .*\$\.events\[0\]\.kept"),
        ({"experiment": {"seed": 0}}, "the fields of a record: .*sparsity"),
        ({"network": {"layers": 3}}, r"the fields of a record: .*\$\.layers"),
        ({"sparsity": {**SPARSITY, "measured": 0.5}}, "the fields of a record: KeyError"),
    ],
)
def test_what_is_no_record_is_refused_with_its_field(tmp_path, change, words):
    shape = {"name": "fc", "shape": [2, 2], "flops": 8}
    content = record(planned("imp", 0.5, 0), 0.9) | {
        "network": {"layers": [shape], "other_flops": 0, "parameters": 4},
        "sparsity": {"measured": 0.5, "layers": {"fc": {"kept": 2}}},
    }
    path = record_path(tmp_path, content["key"])
    path.parent.mkdir()
    path.write_bytes(sealed(whole(content)))
    assert load(tmp_path).frame["inference_flops"].tolist() == [4.0]
    path.write_bytes(sealed(whole(content) | change))
    with pytest.raises(FileFault, match=words) as found:
        load(tmp_path)
    assert content["key"] in str(found.value)


def test_a_record_with_another_order_of_fields_is_read_too(tmp_path):
    recorded(tmp_path, [(planned("imp", 0.5, 0), 0.9)])
    (path,) = record_paths(tmp_path)
    before = load(tmp_path).frame
    content = json.loads(path.read_bytes())
    path.write_text(json.dumps(dict(reversed(content.items())), indent=1))
    assert load(tmp_path).frame.equals(before)


def test_a_damaged_plan_is_named_and_left_out(tmp_path):
    filled(tmp_path)
    assert len(plan_excerpt(tmp_path).experiments) == 10
    path = plan_path(tmp_path)
    path.write_bytes(path.read_bytes().replace(b"imp", b"IMP", 1))
    (damaged,) = load(tmp_path).evidence.left_out
    assert damaged.status == "damaged" and "plan.json is damaged" in damaged.message
    path.write_bytes(sealed({"schema": 1, "experiments": [{"schema": 1, "key": "a"}]}))
    (unreadable,) = load(tmp_path).evidence.left_out
    assert unreadable.status == "unreadable"
    assert re.search(r"plan\.json does not have the fields of a plan: .*suite", unreadable.message)
