"""Observers in processes of their own: nothing that they do to themselves harms a run."""

from __future__ import annotations

import signal
import time

import pytest

from lth_bench.experiments.experiment import Choice
from lth_bench.running.observers import Observers
from lth_bench.running.processes import ForkServer
from lth_bench.running.sweep import Sweep
from lth_bench.storage.events import ExperimentMeasured
from lth_bench.storage.record import identity
from support.records import planned
from support.runners import Runners, journal, parent
from support.suites import pruner, results, write_suite
from support.trackers import FAULTS, events, install
from support.workers import number

ITEM = identity("made", planned("imp", 0.5, 0))
POINT = ExperimentMeasured(1, 9, 0.5, 0.25, 0.75)
WORDS = {
    "raises": "ValueError at support/trackers.py:{line}: it cannot show this",
    "leaves": "SystemExit",
    "quits": "its process ended with exit code 0; its output is in {folder}/logs/",
    "crashes": "its process ended with signal 11 (SIGSEGV); its output is in {folder}/logs/",
    "hangs": "it did not react for 1 s",
}


@pytest.fixture(scope="module")
def path(tmp_path_factory):
    """The PYTHONPATH of processes that know the observers of the tests."""
    return install(tmp_path_factory.mktemp("site"))


@pytest.fixture(scope="module")
def server(path, tmp_path_factory):
    """A fork server that has imported everything."""
    made = ForkServer()
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYTHONPATH", path)
        worker = Sweep(tmp_path_factory.mktemp("first"), None, "cpu", server=made).worker()
    assert number(worker)
    worker.kill()
    yield made
    made.stop()


def observed(folder, server, *choices, **options):
    """The observers of a run directory, and the list of the sentences that are said of them."""
    said = []
    return Observers(Sweep(folder, None, "cpu", observers=choices, server=server), said.append, **options), said


def follow(observers, points=1):
    with observers.following(ITEM):
        for _ in range(points):
            observers.tell(ITEM.key, POINT)


@pytest.mark.parametrize("how", FAULTS)
def test_an_observer_that_fails_costs_one_sentence_and_the_others_nothing(how, tmp_path, server):
    faulty = Choice("faulty", {"how": how})
    observers, said = observed(tmp_path, server, faulty, Choice("lines"), patience=1)
    for _ in range(3):
        follow(observers)
    observers.close(lambda: False)
    words = WORDS[how].partition("{line}")[0].format(folder=tmp_path)
    assert len(said) == 1 and said[0].startswith(f"observer 'faulty' is told no more: {words}")
    assert said[0].endswith(f"; the run goes on, and 'lth-bench observe {tmp_path} faulty' shows what is finished")
    assert "\n" not in said[0]
    kinds = [event["type"] for event in events(tmp_path / "trackers" / "lines" / f"{ITEM.key}.jsonl")]
    assert kinds == ["measured", "left"]


def test_telling_waits_for_nobody_and_the_end_waits_for_who_still_hears(tmp_path, server):
    slow = Choice("faulty", {"delay": 0.01})
    observers, said = observed(tmp_path, server, slow, Choice("lines"), patience=1)
    begun = time.monotonic()
    follow(observers, points=150)
    told = time.monotonic()
    observers.close(lambda: False)
    assert said == [] and told - begun < 1 < time.monotonic() - told
    assert len(events(tmp_path / "trackers" / "lines" / f"{ITEM.key}.jsonl")) == 151


def test_a_hurried_end_waits_for_nobody(tmp_path, server):
    observers, _ = observed(tmp_path, server, Choice("faulty", {"how": "hangs"}))
    follow(observers)
    begun = time.monotonic()
    observers.close(lambda: True)
    assert time.monotonic() - begun < 2


@pytest.fixture
def runners(path):
    made = Runners(environment={"PYTHONPATH": path})
    yield made
    made.close()


def test_a_run_with_failing_observers_ends_as_one_without(tmp_path, runners):
    suite = write_suite(tmp_path / "s.toml", pruner("magnitude"))
    options = ["--workers", 2, "--device", "cpu", "--no-report"]
    faulty = [f"--observe=faulty how={how}" for how in FAULTS if how != "hangs"]
    plain = runners.command("run", suite, "--out", tmp_path / "plain", *options)
    shown = runners.command("run", suite, "--out", tmp_path / "shown", *options, *faulty)
    said, quiet = shown.communicate(timeout=120)[0], plain.communicate(timeout=120)[0]
    assert shown.returncode == plain.returncode == 0, said
    assert said.count("is told no more") == 4 and "told no more" not in quiet
    assert results(tmp_path / "shown") == results(tmp_path / "plain")
    assert not (tmp_path / "plain" / "trackers").exists() and runners.gone()


def wait_for_points(files, process, count=3):
    while not any(path.read_text().count("measured") > count for path in files.glob("*")):
        assert process.poll() is None, process.communicate()[0]
        time.sleep(0.05)


def test_a_run_that_loses_a_child_is_stopped_and_goes_on_leaves_no_double_point(tmp_path, runners):
    suite = write_suite(tmp_path / "s.toml", pruner("imp"), sparsities=[0.9], seeds=[0, 1], duration="6ep")
    directory = tmp_path / "run"
    command = ["run", suite, "--out", directory, "--workers", 2, "--device", "cpu", "--no-report", "--observe", "lines"]
    first = runners.command(*command)
    files = directory / "trackers" / "lines"
    wait_for_points(files, first)
    children = [pid for pid in runners.workers(first.pid) if parent(parent(parent(pid))) == first.pid]
    runners.kill(children[0])
    wait_for_points(files, first, count=6)
    first.send_signal(signal.SIGINT)
    assert first.wait(timeout=60) == 130, first.communicate()[0]
    assert {events(path)[-1]["type"] for path in files.iterdir()} <= {"left", "finished"}
    assert [line["event"] for line in journal(directory)].count("lost") == 1
    second = runners.command(*command)
    said = second.communicate(timeout=200)[0]
    assert second.returncode == 0, said
    for key, record in results(directory).items():
        told = events(files / f"{key}.jsonl")
        points = [event for event in told if event["type"] == "measured"]
        for name, column in record["curve"].items():
            assert [point[name] for point in points] == column
        assert [event["kept"] for event in told if event["type"] == "pruned"] == [p["kept"] for p in record["prunings"]]
        positions = [point["position"] for point in points]
        assert positions == sorted(set(positions)) and told[-1]["type"] == "finished"
        assert told[-1]["record"]["test"] == record["test"]
