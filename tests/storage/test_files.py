import errno
import json
import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lth_bench.errors import Damaged, FileFault
from lth_bench.storage.files import publish, publish_new
from lth_bench.storage.records import read_records, record_paths, recorded
from lth_bench.storage.sealed import publish_json, read_json
from lth_bench.storage.store import Store
from lth_bench.storage.tensors import read_tensors
from lth_bench.storage.upkeep import verify


def test_a_file_is_replaced_whole_and_leaves_nothing_beside_it(tmp_path):
    path = tmp_path / "folder" / "file"
    publish(path, b"one")
    publish(path, b"two")
    assert path.read_bytes() == b"two"
    assert [p.name for p in path.parent.iterdir()] == ["file"]


def test_a_write_that_fails_leaves_the_old_file(tmp_path):
    path = tmp_path / "file"
    publish(path, b"one")
    with pytest.raises(TypeError):
        publish(path, "not bytes")
    assert path.read_bytes() == b"one"
    assert [p.name for p in tmp_path.iterdir()] == ["file"]


@given(st.integers(0, 10_000), st.integers(0, 7))
def test_every_flipped_bit_is_noticed(tmp_path_factory, position, bit):
    path = tmp_path_factory.mktemp("flip") / "record.json"
    publish_json(path, {"key": "a", "values": [1.5, None, "ü"]})
    content = bytearray(path.read_bytes())
    content[position % (len(content) - 1)] ^= 1 << bit
    path.write_bytes(content)
    try:
        assert read_json(path) == {"key": "a", "values": [1.5, None, "ü"]}
    except FileFault as error:
        assert str(path) in str(error)


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b"{}", b'{"checksum": 3}', b"\xff", b"[" * 100_000, b"null"])
def test_what_is_not_a_record_is_refused_with_its_path(tmp_path, content):
    path = tmp_path / "records" / "x.json"
    path.parent.mkdir()
    path.write_bytes(content)
    with pytest.raises(FileFault, match=r"x\.json"):
        read_records(tmp_path)


def test_a_record_of_another_schema_is_refused(tmp_path):
    publish_json(tmp_path / "records" / "x.json", {"schema": 99})
    with pytest.raises(FileFault, match="schema 99; this version reads 1"):
        read_records(tmp_path)


def test_numbers_that_json_does_not_know_are_never_written(tmp_path):
    with pytest.raises(ValueError, match="not JSON compliant"):
        publish_json(tmp_path / "x.json", {"loss": float("nan")})
    assert json.loads("[]") == list(tmp_path.iterdir())


def test_without_hard_links_the_first_writer_still_wins(tmp_path, monkeypatch):
    def refused(*arguments):
        raise OSError(errno.EPERM, "no links here")

    monkeypatch.setattr(Path, "hardlink_to", refused)
    assert publish_new(tmp_path / "record", b"first")
    assert not publish_new(tmp_path / "record", b"second")
    assert (tmp_path / "record").read_bytes() == b"first"


@pytest.fixture
def pipe(tmp_path):
    """A pipe in the place of tensors in a store. We hold it open, so that whoever opens it comes back."""
    path = tmp_path / "objects" / f"{'a' * 64}.safetensors"
    path.parent.mkdir()
    os.mkfifo(path)
    handle = os.open(path, os.O_RDWR)
    yield path
    os.close(handle)


@pytest.mark.timeout(20)
def test_a_pipe_in_the_place_of_tensors_is_damage_and_nobody_waits_for_it(tmp_path, pipe):
    with pytest.raises(Damaged, match="is not a regular file"):
        read_tensors(pipe, "a" * 64)
    assert verify(Store(tmp_path)).counts == {"objects": 1}
    assert not pipe.exists() and len(list((tmp_path / "damaged").iterdir())) == 1


def test_only_json_files_that_are_not_hidden_are_records(tmp_path):
    (tmp_path / "records").mkdir()
    assert recorded(tmp_path / "nowhere") == []
    for name in ("b.json", "a.json", ".c.json", "notes.txt", "d.json~", "x" * 255):
        (tmp_path / "records" / name).touch()
    assert recorded(tmp_path) == ["a", "b"] == [path.stem for path in record_paths(tmp_path)]
