"""Processes that are killed, stopped and started again."""

from __future__ import annotations

import os
import random
import signal
import time

import pytest

from lth_bench.results.frame import load
from lth_bench.results.leaderboard import summarise
from lth_bench.storage.files import locked
from lth_bench.storage.store import Store
from support.runners import Runners, journal, published, published_twice
from support.suites import pruner, results, write_suite

LONG_WAIT = 1000


def related(path, seeds, sparsities):
    """For each seed one experiment of the dense network and six a sparsity, which share much of their training."""
    pruners = [
        pruner("dense", sparsities=[0.0]),
        pruner("imp", controls=["redraw"]),
        pruner("imp", label="rewound", arguments={"rewind_to": "1ep"}),
        pruner("magnitude"),
        pruner("random"),
        pruner("snip"),
    ]
    return write_suite(path, "".join(pruners), seeds=seeds, sparsities=sparsities, duration="2ep")


@pytest.fixture(scope="session")
def undisturbed(tmp_path_factory, long):
    """The suite, and what it gives when nothing happens to it; made once for all processes of the tests."""
    base = tmp_path_factory.getbasetemp()
    folder = (base.parent if "PYTEST_XDIST_WORKER" in os.environ else base) / "undisturbed"
    suite, directory = folder / "faults.toml", folder / "out"
    seeds, grid = ([0, 1], [0.36, 0.488, 0.5904, 0.67232, 0.737856]) if long else ([0], [0.36, 0.5904])
    with locked(folder / "lock"):
        if not (folder / "made").exists():
            runner = (made := Runners()).start(related(suite, seeds, grid), directory)
            output, _ = runner.communicate(timeout=LONG_WAIT)
            assert runner.returncode == 0, output
            assert made.gone(), "a worker outlived its runner"
            assert len(results(directory)) == len(seeds) * (1 + 6 * len(grid))
            (folder / "made").touch()
    return suite, directory


def differences(directory, reference):
    """What is not as it was without faults."""
    found, wanted = results(directory), results(reference)
    table = _table(directory) == _table(reference)
    wrong = [key for key in wanted if found.get(key) != wanted[key]]
    return wrong + published_twice(directory) + ([] if table else ["the table"])


def _table(directory):
    """The leaderboard in every figure but those that clocks and memory decide."""
    rows = summarise(load(directory).frame).rows
    return rows.drop(columns=["latency", "seconds", "peak_memory"]).to_json(double_precision=15)


@pytest.mark.timeout(3000)
def test_workers_and_runners_killed_at_random(tmp_path, undisturbed, runners, tally, long):
    suite, reference = undisturbed
    wanted, kills, bad, rounds = (200 if long else 3), 0, [], 0
    chance, size = random.Random(0), 3 if long else 2
    while kills < wanted:
        rounds += 1
        directory = tmp_path / str(rounds)
        team = [runners.start(suite, directory) for _ in range(size)]
        while not journal(directory):
            time.sleep(0.05)
        while any(runner.poll() is None for runner in team):
            time.sleep(chance.uniform(0.1, 1.5))
            if kills < wanted and (alive := runners.processes()):
                runners.kill(chance.choice(alive))
                kills += 1
            team = [runner if not _killed(runner) else runners.start(suite, directory) for runner in team]
        bad += differences(directory, reference)
        assert runners.gone()
    count = len(results(reference))
    figure = f"0 of {count} experiments lost, 0 published twice, tables equal ({rounds} runs of {size} runners)"
    tally("worker killed", kills, bad, figure)


def _killed(runner):
    return runner.poll() is not None and runner.returncode != 0


@pytest.mark.timeout(3000)
def test_a_launcher_killed_and_started_again(tmp_path, undisturbed, runners, tally, long):
    suite, reference = undisturbed
    wanted, kills, bad, rounds = (20 if long else 1), 0, [], 0
    chance = random.Random(1)
    while kills < wanted:
        rounds += 1
        directory = tmp_path / str(rounds)
        segments: dict[str, int] = {}
        while True:
            runner = runners.start(suite, directory)
            if kills < wanted:
                go_on(directory, chance.randint(1, 5), runner)
                kills += runner.poll() is None
                runner.kill()
            runner.wait()
            assert runners.gone(), "a worker outlived its launcher"
            entries = {path.name: path.stat().st_ino for path in (directory / "store" / "entries").glob("*.json")}
            bad += [name for name, inode in segments.items() if entries.get(name) != inode]
            segments = entries
            if runner.returncode == 0:
                break
        bad += differences(directory, reference) + claimed_after_publication(directory)
    figure = f"0 finished experiments run again, 0 of {len(segments)} finished segments computed again"
    tally("launcher killed, started again", kills, bad, figure)


def go_on(directory, count, runner):
    """Waits until so many more experiments are published, or the runner has ended."""
    wanted = len(published(directory)) + count
    while len(published(directory)) < wanted and runner.poll() is None:
        time.sleep(0.02)


def claimed_after_publication(directory):
    published, wrong = set(), []
    for line in journal(directory):
        if line["event"] == "published":
            published.add(line["key"])
        if line["event"] == "claimed" and line["key"] in published:
            wrong.append(line["key"])
    return wrong


@pytest.mark.timeout(1500)
def test_a_runner_that_is_stopped_past_its_lease_and_comes_back(tmp_path, runners, tally, long):
    suite = write_suite(tmp_path / "faults.toml", pruner("imp"), sparsities=[0.9], duration="15ep")
    tries, bad, dropped = (10 if long else 1), [], 0
    for number in range(tries):
        directory = tmp_path / str(number)
        stale = runners.start(suite, directory, patience=2)
        while not journal(directory):
            time.sleep(0.05)
        frozen = [stale.pid] if number % 2 else [stale.pid, *runners.workers(stale.pid)]
        for pid in frozen:
            runners.kill(pid, signal.SIGSTOP)
        time.sleep(3)
        fresh = runners.start(suite, directory, patience=2)
        while len([line for line in journal(directory) if line["event"] == "claimed"]) < 2:
            time.sleep(0.05)
        for pid in frozen:
            runners.kill(pid, signal.SIGCONT)
        for runner in (stale, fresh):
            output, _ = runner.communicate(timeout=LONG_WAIT)
            bad += [output] if runner.returncode else []
        events = [(line["event"], line["pid"]) for line in journal(directory)]
        dropped += ("dropped", stale.pid) in events
        bad += [events] if ("published", fresh.pid) not in events or ("published", stale.pid) in events else []
        bad += published_twice(directory)
    bad += [] if dropped == tries else [f"{dropped} of {tries} noticed"]
    tally("a stopped worker that comes back", tries, bad, f"0 published twice; {dropped} of {tries} dropped their work")


@pytest.mark.timeout(600)
def test_two_runners_in_one_directory_share_the_work(tmp_path, undisturbed, runners, tally):
    suite, reference = undisturbed
    directory = tmp_path / "shared"
    pair = [runners.start(suite, directory) for _ in range(2)]
    while not (claimed := journal(directory)):
        time.sleep(0.02)
    first = [claimed[0]["pid"], *runners.workers(claimed[0]["pid"])]
    for pid in first:  # it waits for the other one
        runners.kill(pid, signal.SIGSTOP)
    while len({line["pid"] for line in journal(directory)}) < 2:
        time.sleep(0.02)
    for pid in first:
        runners.kill(pid, signal.SIGCONT)
    for runner in pair:
        output, _ = runner.communicate(timeout=LONG_WAIT)
        assert runner.returncode == 0, output
    bad = differences(directory, reference)
    owners = {line["pid"] for line in journal(directory) if line["event"] == "published"}
    steps = [computed(place) for place in (directory, reference)]
    bad += [] if len(owners) == 2 else ["only one runner worked"]
    bad += [] if steps[0] == steps[1] else [f"{steps[0]} steps were computed, {steps[1]} were enough"]
    figure = f"0 published twice, {steps[0]:,} steps as with one runner"
    tally("two runners in one directory", len(results(reference)), bad, figure)


def computed(directory):
    return sum(record.timing.steps_computed for record in load(directory).records())


INTERRUPTIONS = {
    "Ctrl-C once": ([signal.SIGINT], 130),
    "Ctrl-C twice": ([signal.SIGINT, signal.SIGINT], 130),
    "SIGTERM": ([signal.SIGTERM], 143),
}


@pytest.mark.timeout(600)
@pytest.mark.parametrize("name", ["Ctrl-C once", "Ctrl-C twice", pytest.param("SIGTERM", marks=pytest.mark.slow)])
def test_interruptions_end_in_good_order(tmp_path, runners, tally, name):
    signals, status = INTERRUPTIONS[name]
    suite = write_suite(tmp_path / "faults.toml", pruner("dense", sparsities=[0.0]), seeds=[0, 1], duration="2000ep")
    directory, bad = tmp_path / "out", []
    runner = runners.command("run", suite, "--out", directory, "--workers", "2")
    while sum(line["event"] == "claimed" for line in journal(directory)) < 2:
        time.sleep(0.05)
    time.sleep(1.5)  # both workers are in the middle of their training
    started = time.monotonic()
    for number in signals:
        runners.kill(runner.pid, number)
        time.sleep(0.05)
    output = " ".join(runner.communicate(timeout=60)[0].split())
    took = time.monotonic() - started
    bad += [] if runner.returncode == status else [f"status {runner.returncode}"]
    bad += [] if "the same command goes on from there" in output else [output]
    bad += [] if runners.gone() else ["a worker is left"]
    kept = [entry["end"] for _, entry in Store(directory / "store").entries("checkpoints")]
    checkpoints = len(kept)
    if len(signals) == 1:
        spent = [line["steps_computed"] for line in journal(directory) if line["event"] == "stopped"]
        bad += [] if checkpoints == 2 else [f"{checkpoints} checkpoints"]
        bad += [] if sorted(spent) == sorted(kept) else [f"{spent} steps spent, {kept} kept"]
        bad += [] if "Press again to stop at once" in output else [output]
    else:
        bad += [] if took < 3 else [f"took {took:.1f} s"]
    bad += [line for line in journal(directory) if line["event"] == "lost"]
    again = runners.command("status", directory).communicate()[0]
    bad += [] if "missing" in again and "running" not in again else [again]
    tally(name, 1, bad, f"ended in {took:.1f} s with {checkpoints} checkpoints, no process left, exit status {status}")
