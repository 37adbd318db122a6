import errno
import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lth_bench.errors import FileFault
from lth_bench.storage.files import publish, publish_new
from lth_bench.storage.records import read_records
from lth_bench.storage.sealed import publish_json, read_json


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
