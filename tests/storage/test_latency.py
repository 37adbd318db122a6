"""Latencies are kept beside the records."""

from __future__ import annotations

import pytest
from msgspec import structs

from lth_bench.errors import Damaged
from lth_bench.storage.latency import Latencies, Latency, MeasuredOn, latency_paths, read_latencies, write_latencies

HERE = MeasuredOn("a processor", "cpu", 1, "2.14.1", "")


def latencies(*measured, ticket="t1", machine=HERE):
    return Latencies(1, "k1", ticket, machine, list(measured))


def reasons(path):
    return {(item.engine, item.batch): item.reason for item in read_latencies(path).measured}


def test_latencies_of_other_engines_and_batches_stay_and_those_of_another_ticket_go(tmp_path):
    write_latencies(tmp_path, latencies(Latency(engine="csr", batch=1), Latency(engine="csr", batch=64)))
    path = write_latencies(tmp_path, latencies(Latency(engine="csr", batch=1, reason="new")))
    assert reasons(path) == {("csr", 1): "new", ("csr", 64): ""}
    write_latencies(tmp_path, latencies(Latency(engine="thin", batch=1), ticket="t2"))
    assert reasons(path) == {("thin", 1): ""}


def test_every_machine_and_number_of_threads_has_its_file(tmp_path):
    write_latencies(tmp_path, latencies())
    write_latencies(tmp_path, latencies(machine=structs.replace(HERE, threads=2)))
    assert len(latency_paths(tmp_path)) == 2


def test_damaged_latencies_are_told_and_measured_anew(tmp_path):
    path = write_latencies(tmp_path, latencies(Latency(engine="csr", batch=1)))
    path.write_text(path.read_text().replace('"csr"', '"cso"'))
    with pytest.raises(Damaged, match="checksum"):
        read_latencies(path)
    write_latencies(tmp_path, latencies(Latency(engine="thin", batch=1)))
    assert reasons(path) == {("thin", 1): ""}


def test_latencies_under_another_name_are_damage(tmp_path):
    path = write_latencies(tmp_path, latencies())
    other = path.rename(path.with_name("k2-00000000.json"))
    with pytest.raises(Damaged, match="another ticket or machine"):
        read_latencies(other)
