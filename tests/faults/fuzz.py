"""Reads changed files, in a process of its own."""

from __future__ import annotations

import json
import os
import random
import resource
import shutil
import signal
import struct
import time
import traceback
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import safetensors.torch
import torch
from msgspec import structs

from faults import mutations
from faults.mutations import as_file, changed, unsealed
from lth_bench.errors import FileFault
from lth_bench.experiments.plan import plan, read_suite
from lth_bench.experiments.plugins import load_plugins
from lth_bench.hashing import sha256
from lth_bench.reports.formats.documents import DOCUMENTS
from lth_bench.reports.paper.choices import TableChoices
from lth_bench.reports.paper.layouts import LAYOUTS, tables
from lth_bench.reports.report import compare, write_report, write_tables
from lth_bench.results.frame import load
from lth_bench.running.queue import Queue
from lth_bench.running.run import run
from lth_bench.running.status import missing, survey
from lth_bench.running.worker import make_context
from lth_bench.storage import leases
from lth_bench.storage.record import SCHEMA, Identity, Plan, Record, builtins, identity, identity_of
from lth_bench.storage.records import faults, plan_path, read_records, record_path
from lth_bench.storage.sealed import publish_json
from lth_bench.storage.store import Store
from lth_bench.storage.tensors import serialized
from lth_bench.storage.upkeep import collect, usage, verify
from support.places import ROOT
from support.suites import finish, pruner, write_suite

BOARD = ROOT / "leaderboards" / "quickstart"
RECORDS = 8
SECONDS = 30  # of the processor; a try that takes more counts as one that never ends
MEMORY = 1 << 30  # bytes that a try may take more than this process had before

NAMED = (
    "no_ticket",
    "unsuitable",
    "diverged",
    "invalid",
)  # kinds of failure that say what is wrong with a ticket or with trained weights

Try = Callable[[random.Random, int], str]


class TooLong(Exception):
    """A try that takes too long."""


def published(folder: Path, count: int = RECORDS) -> Path:
    """A part of the published board of the quickstart, with its plan."""
    (folder / "records").mkdir(parents=True)
    for path in sorted((BOARD / "records").glob("*.json"))[:count]:
        shutil.copy(path, folder / "records")
    shutil.copytree(BOARD / "suites", folder / "suites")
    known = Plan(schema=SCHEMA, experiments=[identity_of(record) for record in read_records(folder)])
    publish_json(plan_path(folder), builtins(known))
    return folder


def read_board(board: Path, number: int) -> str:
    """All that reads records and plans but for the report, one table for papers; the faults of what was left out."""
    survey(board)
    faults(board)
    results = load(board)
    write_tables(compare(results), board.parent / "out")
    try:
        papers = tables(results, TableChoices(columns=list(LAYOUTS)[number % len(LAYOUTS)]))
    except ValueError as error:
        assert "sparsit" in str(error), error
    else:
        list(DOCUMENTS.values())[number % len(DOCUMENTS)](papers)
    return " ".join(trouble.message for trouble in results.evidence.left_out)


def report_board(board: Path, number: int) -> str:
    """Figures and page of a board; returns the faults of what was left out."""
    report = compare(load(board))
    write_report(report, board.parent / "report")
    return " ".join(trouble.message for trouble in report.results.evidence.left_out)


def changing(
    path_of: Callable[[random.Random], Path], board: Path, read: Callable[[Path, int], str] = read_board
) -> Try:
    """A try that changes a file of a board, reads the board, and puts the file back."""

    def work(draw: random.Random, number: int) -> str:
        path = path_of(draw)
        before = path.read_bytes()
        path.write_bytes(as_file(changed(unsealed(path), draw), draw))
        try:
            left_out = read(board, number)
        finally:
            path.write_bytes(before)
        assert not left_out or path.stem in left_out, left_out
        return "named" if left_out else "used"

    return work


def records(folder: Path) -> Try:
    board = published(folder / "board")
    paths = sorted((board / "records").iterdir())
    return changing(lambda draw: draw.choice(paths), board)


def plans(folder: Path) -> Try:
    board = published(folder / "board")
    return changing(lambda draw: plan_path(board), board)


def pages(folder: Path) -> Try:
    """Changed records and plans in reports, which draw figures and take longer."""
    board = published(folder / "board", 8)
    paths = [plan_path(board), *sorted((board / "records").iterdir())]
    return changing(lambda draw: draw.choice(paths), board, report_board)


def a_run(folder: Path) -> tuple[Path, list[Identity]]:
    """A finished run directory, and its experiments."""
    pruners = pruner("imp", sparsities=[0.5], arguments={"rate": 0.6, "rewind_to": "10it"}, controls=["redraw"])
    suite = write_suite(folder / "faults.toml", pruners, duration="1ep")
    finish(suite, folder / "run")
    plugins = load_plugins()
    name, content = read_suite(str(suite), plugins)
    return folder / "run", [identity(name, item) for item in plan(content, plugins)]


def leased(folder: Path) -> Try:
    """Leases of other names and contents on experiments and on segments of a run."""
    directory, identities = a_run(folder)
    store = Store(directory / "store")
    keys = [entry.key for entry in identities]
    segments = [path.stem for path, _ in store.entries()]

    def work(draw: random.Random, number: int) -> str:
        places = [(directory / "leases", draw.choice(keys)), (store.root / "leases", draw.choice(segments))]
        place, key = draw.choice(places)
        shutil.rmtree(place, ignore_errors=True)
        own = leases.claim(place, key)
        path = place / name(own.path.name, draw)
        content = as_file(changed(json.loads(own.path.read_bytes()), draw), draw)
        own.path.unlink()
        put(path, content, draw)
        record_path(directory, keys[0]).rename(folder / "aside")
        try:
            survey(directory)
            store.busy(key)
            queue = Queue(directory, missing(directory, identities), store, 60)
            queue._candidates()
            leases.history(place, key)
            lease = leases.claim(place, key)
            if lease:
                assert lease.held() and lease.beat()
                lease.finish()
            collect(store)
        finally:
            (folder / "aside").rename(record_path(directory, keys[0]))
        return "used" if lease is None else "named"

    return work


def name(usual: str, draw: random.Random) -> str:
    """The name of a lease, with its own or with another generation."""
    key = usual.rpartition(".")[0]
    return f"{key}.{draw.choice([1, 1, 1, 7, 10**8, 10**9 - 1, 10**9, 10**12, 10**100, 0, '01', '-1', '٣'])}"


def put(path: Path, content: bytes, draw: random.Random) -> None:
    """A file with this content, rarely a pipe or a folder, of a time between 1970 and 2100."""
    kind = draw.random()
    if kind < 0.05:
        os.mkfifo(path)
    elif kind < 0.1:
        path.mkdir()
    else:
        path.write_bytes(content)
    os.utime(path, (0, draw.choice([0, time.time(), time.time() - 61, time.time() + 7200, 4102444800])))


def journals(folder: Path) -> Try:
    """Lines of the journal that no run would write."""
    directory, identities = a_run(folder)
    lines = (directory / "journal.jsonl").read_bytes().splitlines() if (directory / "journal.jsonl").exists() else []
    lines += [json.dumps({"event": "parked", "key": identities[0].key, "steps_computed": 7, "time": 1.0}).encode()]
    record_path(directory, identities[0].key).unlink()

    def work(draw: random.Random, number: int) -> str:
        (directory / "journal.jsonl").unlink(missing_ok=True)
        bad = changed(json.loads(draw.choice(lines)), draw)
        ending = draw.choice([b"\n", b"", b"\n\n", b"\r\n"])
        before = (lines[-1] + b"\n") if draw.random() < 0.5 else b""
        put(directory / "journal.jsonl", before + as_file(bad, draw).rstrip() + ending, draw)
        queue = Queue(directory, identities[:1], None, 60)
        try:
            task = queue.next(lambda *event: None)
        except FileFault as fault:
            assert "journal.jsonl" in str(fault)
            shutil.rmtree(directory / "leases")
            (directory / "journal.jsonl").rmdir() if (directory / "journal.jsonl").is_dir() else None
            return "named"
        spent = queue.spent(task)
        queue.give_back(task, "stopped", spent)
        assert 0 <= spent.steps_computed < 2**63
        return "used"

    return work


def tensors(content: bytes, draw: random.Random) -> bytes:
    """Other tensors in the form in which a run writes them, or a file that is not in that form."""
    if draw.random() < 0.4:
        return lying(content, draw)
    values = safetensors.torch.load(content)
    for _ in range(draw.choice((1, 1, 2))):
        if values:
            name = draw.choice(list(values))
            values |= other(name, values.pop(name), draw)
    return b"".join(serialized(values))


def other(name: str, value: torch.Tensor, draw: random.Random) -> dict[str, torch.Tensor]:
    """What stands in the place of a tensor: none, one of another name, shape, type or values, or thousands."""
    kinds: list[Callable[[], dict[str, torch.Tensor]]] = [
        lambda: {},
        lambda: {f"{name}/x": value},
        lambda: {draw.choice([*mutations.PATHS[:4], "mask/x", "final/", "start/x", "step", "0/x"]): value},
        lambda: {name: value.flatten()[: value.numel() // 2]},
        lambda: {name: value.flatten()[None]},
        lambda: {name: value.new_zeros((3, 0, 2))},
        lambda: {name: value.to(draw.choice([torch.bool, torch.int8, torch.float64, torch.bfloat16]))},
        lambda: {name: torch.full_like(value, draw.choice([0, 1, 127]))},
        lambda: {name: torch.full(value.shape, draw.choice([torch.nan, torch.inf, -1e38]))},
        lambda: {name: torch.tensor(draw.choice([-1, 2**62, 10**6]))},
        lambda: {name: value, **{f"mask/{number}": torch.zeros(1) for number in range(mutations.MANY)}},
    ]
    return draw.choice(kinds)()


def lying(content: bytes, draw: random.Random) -> bytes:
    """A file whose header lies about types, shapes or places, or whose length is another one."""
    size = struct.unpack("<Q", content[:8])[0]
    header, rest = json.loads(content[8 : 8 + size]), content[8 + size :]
    kind = draw.random()
    if kind < 0.2:
        return content[: draw.randrange(len(content))]
    if kind < 0.4:
        return struct.pack("<Q", draw.choice([0, 2**20, 2**40, 2**63, 2**64 - 1])) + content[8:]
    entry = header[draw.choice(list(header))]
    if kind < 0.6:
        entry["shape"] = draw.choice([[], [0], [2**62, 4], [1] * 100, [-1], entry["shape"][::-1], ["a"], [2**70]])
    elif kind < 0.7:
        entry["dtype"] = draw.choice(["F64", "U8", "I8", "BF16", "F8_E4M3", "BOOL", "C64", "x", 3])
    elif kind < 0.85:
        entry["data_offsets"] = draw.choice([[0, 0], [0, 2**63], [4, 0], [-4, 4], [0, len(rest)]])
    else:
        header = changed(header, draw)
    try:
        text = json.dumps(header, separators=(",", ":")).encode()
    except RecursionError:
        text = b"[" * 100_000
    text += b" " * (-len(text) % 8)
    return struct.pack("<Q", len(text)) + text + rest


def tickets(folder: Path) -> Try:
    """Tickets that fit the hash in their record, and are none."""
    directory, identities = a_run(folder)
    base, control = identities
    path = directory / "tickets" / f"{base.key}.safetensors"
    ticket, record = path.read_bytes(), unsealed(record_path(directory, base.key))
    site = make_context(None, "cpu")

    def work(draw: random.Random, number: int) -> str:
        path.write_bytes(content := tensors(ticket, draw))
        record["ticket"]["sha256"] = sha256(content)
        publish_json(record_path(directory, base.key), record)
        missing(directory, identities)
        results = load(directory)
        compare(results)
        ended = run(control, directory, site)
        named = ended.error and (ended.error.kind in NAMED or ended.error.exception == "MaskError")
        assert ended.status == "done" or named, ended.error
        return "used" if ended.status == "done" else "named"

    return work


def entries(folder: Path) -> Try:
    """Entries and tensors of the store that fit their names, and are none."""
    directory, identities = a_run(folder)
    sound = directory / "store"
    shutil.copytree(sound, folder / "sound")
    wanted = {record.key: replace_timing(record) for record in read_records(directory)}

    def work(draw: random.Random, number: int) -> str:
        shutil.rmtree(sound)
        shutil.copytree(folder / "sound", sound)
        store = Store(sound)
        path, entry = draw.choice(list(store.entries()))
        if entry["objects"] and draw.random() < 0.5:
            digest = draw.choice(entry["objects"])
            content = tensors(store.tensors(digest, path.stem).read_bytes(), draw)
            other = store.write_tensors([content], path.stem)
            path.write_text(json.dumps(unsealed(path)).replace(digest, other))
            publish_json(path, unsealed(path))
        else:
            path.write_bytes(as_file(changed(unsealed(path), draw), draw))
        path = draw.choice(sorted((sound / "entries").iterdir()))
        if draw.random() < 0.5:
            path.unlink()  # so that training has to go on from the others
        ended = run(identities[0], directory, make_context(None, "cpu", store))
        verify(store)
        collect(store, draw.choice([None, 0, 10**5]))
        usage(store)
        assert ended.status == "done" or ended.error.kind in NAMED, ended.error
        same = replace_timing(ended) == wanted[ended.key]
        return "named" if ended.error else "used" if same else "different"

    return work


def replace_timing(record: Record) -> Record:
    return structs.replace(record, timing=None)


KINDS: dict[str, Callable[[Path], Try]] = {
    "record": records,
    "plan": plans,
    "page": pages,
    "lease": leased,
    "journal": journals,
    "ticket": tickets,
    "entry": entries,
}


def stop(*_: object) -> None:
    raise TooLong(f"more than {SECONDS} s")


def results_of(work: Try, tries: int, outside: Path) -> Iterator[tuple[str, float]]:
    """How each try ended, or its traceback; and the seconds that it took."""
    for number in range(tries):
        started = time.process_time()
        signal.setitimer(signal.ITIMER_PROF, SECONDS)
        try:
            ended = work(random.Random(number), number)
        except FileFault:
            ended = "named"
        except BaseException:
            ended = f"{number}: {traceback.format_exc()[-1500:]}"
        signal.setitimer(signal.ITIMER_PROF, 0)
        took = time.process_time() - started
        yield ended, took
        assert not list(outside.glob("outside*")), "a file outside of the directory"


def largest() -> int:
    """The most bytes of memory that this process or one of those that it started has had."""
    users = (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)
    return 1024 * max(resource.getrusage(who).ru_maxrss for who in users)


def read_changed(kind: str, folder: Path, tries: int) -> dict[str, Any]:
    """How many files were used and named, what went wrong, the longest time of a try and the largest memory.

    Seconds of the processor, and bytes.
    """
    warnings.simplefilter("ignore")
    torch.set_num_threads(1)
    signal.signal(signal.SIGPROF, stop)
    work = KINDS[kind](folder)
    work(random.Random(-1), 0)
    before = largest()
    taken = int(Path("/proc/self/statm").read_text().split()[5]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_DATA, (taken + MEMORY, taken + MEMORY))
    ended = list(results_of(work, tries, folder))
    counts = {word: sum(word == how for how, _ in ended) for word in ("used", "named", "different")}
    bad = [how for how, _ in ended if how not in counts]
    memory = largest() - before
    return {**counts, "bad": bad, "longest": max(took for _, took in ended), "memory": memory}
