"""Files that are half written, damaged, hostile, or have no room."""

from __future__ import annotations

import os
import pickle
import random
import subprocess
import time
from pathlib import Path

import pytest

from faults.crashes import crashes
from lth_bench.errors import FileFault
from lth_bench.experiments.plugins import Provider, Registry
from lth_bench.hashing import sha256
from lth_bench.storage.files import publish
from lth_bench.storage.records import read_record
from lth_bench.storage.sealed import publish_json, sealed
from lth_bench.storage.store import Store
from lth_bench.storage.upkeep import verify
from support.disks import mounted
from support.documents import read_documents
from support.fresh import fresh
from support.places import COMMAND
from support.suites import finish, pruner, results, write_suite


@pytest.fixture
def suite(tmp_path):
    pruners = pruner("imp", sparsities=[0.5], arguments={"rate": 0.6}, controls=["redraw"])
    return write_suite(tmp_path / "faults.toml", pruners, duration="1ep")


@pytest.mark.timeout(3000)
@pytest.mark.parametrize(
    ("mode", "stride", "least", "what"),
    [
        ("crash", 23, 150, "killed at every I/O call"),
        ("full", 23, 150, "disk full at every I/O call"),
        ("remove", 3, 5, "an error when a file is removed"),
    ],
)
def test_a_fault_at_every_operation_on_a_file(tmp_path, suite, tally, long, mode, stride, least, what):
    stride = 1 if long else stride
    count, tries, bad = fresh(crashes, suite, tmp_path, mode, stride)
    assert count > least
    every = "every one" if stride == 1 else f"every {stride}rd"
    tally(what, tries, bad, f"{every} of {count} recovered from; nothing in between, no lease left")


@pytest.mark.timeout(3000)
def test_damage_to_any_file_is_noticed_and_mended(tmp_path, suite, tally, long):
    _, tries, bad = fresh(crashes, suite, tmp_path, "damage", 200 if long else 10)
    tally("corrupt store, record, ticket or plan", tries, bad, "all noticed by checksum, set aside and made again")


@pytest.mark.timeout(600)
@pytest.mark.skipif(os.getuid() != 0, reason="mounting a file system takes root")
def test_a_full_file_system(tmp_path, tally):
    with mounted(small := tmp_path / "small", "size=3m"):
        suite = write_suite(tmp_path / "faults.toml", pruner("imp"), sparsities=[0.5, 0.9])
        run = [COMMAND, "run", suite, "--out", small / "out", "--workers", "2"]
        full = subprocess.run(run, capture_output=True, text=True)
        sentences = [line for line in full.stderr.splitlines() if "No space left on device" in line]
        bad = [] if full.returncode == 2 and len(sentences) == 1 and str(small) in sentences[0] else [full.stderr]
        bad += ["Traceback"] if "Traceback" in full.stderr else []
        subprocess.run(["mount", "-o", "remount,size=300m", small], check=True)
        bad += [damaged] if (damaged := verify(Store(small / "out" / "store")).counts) else []
        finish(suite, small / "out")
        bad += [] if len(results(small / "out")) == 2 else ["the rest was not run"]
        tally("disk full (tmpfs)", 1, bad, "one sentence that names the file, nothing damaged, goes on with room")


class Bomb:
    def __reduce__(self):
        return os.system, ("touch /tmp/lth-bench-was-here",)


def corpus():
    deep = b"[" * 200_000 + b"]" * 200_000
    header = (90 << 20).to_bytes(8, "little") + b"{" + b" " * 1000
    return {
        "a pickle": pickle.dumps(Bomb()),
        "deep JSON": deep,
        "deep JSON in a record": b'{"checksum":"' + b"0" * 64 + b'","x":' + deep + b"}\n",
        "a header that claims 90 MB": header,
        "a header that claims 2^63 bytes": (1 << 63).to_bytes(8, "little") + b"{}",
        "a header of other types": len(b'{"a":3}').to_bytes(8, "little") + b'{"a":3}',
        "JSON of another shape": sealed({"schema": 1, "experiment": {"pruner": 3}, "key": "../../x"}),
        "an entry that leads elsewhere": sealed({"schema": 1, "objects": ["../../../etc/passwd"], "parts": []}),
        "an entry of other types": sealed({"schema": 1, "objects": {"a": 1}, "parts": 5, "diverged": 1}),
        "huge numbers": b'{"checksum": 1' + b"0" * 5_000_000 + b"}",
        "nothing": b"",
        "90 MB of zeros": bytes(90 << 20),
    }


@pytest.mark.timeout(600)
def test_hostile_files_are_refused_quickly_and_run_no_code(tmp_path, suite, tally):
    directory, bad, slowest = tmp_path / "out", [], 0.0
    finish(suite, directory)
    (witness := Path("/tmp/lth-bench-was-here")).unlink(missing_ok=True)
    outside = tmp_path / "outside.safetensors"
    outside.write_bytes(b"precious")
    key, store = read_documents(directory)[0]["key"], Store(directory / "store")
    for name, content in corpus().items():
        path = directory / "records" / f"{key}.json"
        path.write_bytes(content)
        started = time.monotonic()
        try:
            read_record(path)
            bad.append(f"{name} was taken for a record")
        except FileFault as error:
            bad += [] if str(path) in str(error) else [f"{name}: {error}"]
        for place in sorted((directory / "store" / "entries").iterdir())[:2]:
            place.write_bytes(content.replace(b'"schema"', f'"key":"{place.stem}","schema"'.encode()))
            bad += [f"{name} was taken for an entry"] if store.read(place.stem) else []
        slowest = max(slowest, time.monotonic() - started)
    for place in sorted((directory / "store" / "objects").iterdir()):
        place.write_bytes(random.Random(3).choice(list(corpus().values())))
    elsewhere = {"schema": 1, "objects": [f"../../../{outside.stem}"], "parts": []}
    for place in sorted((directory / "store" / "entries").iterdir())[:2]:
        publish_json(place, {**elsewhere, "key": place.stem})
    (directory / "records" / f"{key}.json").unlink(missing_ok=True)
    finish(suite, directory)
    bad += ["a file outside was touched"] if outside.read_bytes() != b"precious" else []
    bad += ["code was run"] if witness.exists() else []
    tally("malicious record or store entry", len(corpus()), bad, f"refused in {slowest:.1f} s at most, no code run")


def test_a_name_that_leads_out_of_the_folder_is_refused(tmp_path, tally):
    names = ["../x", "/etc/passwd", "a/b", "..", "", "A", "a" * 65, "ü", "a b", "a\n", "-a", "%2e%2e", "a\0b"]
    bad = []
    for name in names:
        try:
            Registry("suites").add(name, tmp_path, Provider("a", "b", "c", "d"))
            bad.append(name)
        except ValueError:
            pass
    tally("path traversal in names", len(names), bad, "identifiers match [a-z0-9][a-z0-9._-]{0,63}")


def test_publishing_is_all_or_nothing_for_readers(tmp_path, tally, long):
    """A reader beside a writer sees one content or the other, whole."""
    path, tries, bad = tmp_path / "file", (3000 if long else 300), []
    contents = {sha256([bytes([n]) * 50_000]): bytes([n]) * 50_000 for n in range(2)}
    publish(path, next(iter(contents.values())))
    pid = os.fork()
    if pid == 0:
        for number in range(tries):
            publish(path, list(contents.values())[number % 2])
        os._exit(0)
    while os.waitpid(pid, os.WNOHANG) == (0, 0):
        bad += [] if sha256([path.read_bytes()]) in contents else ["torn"]
    tally("read while it is written", tries, bad, "never torn")
