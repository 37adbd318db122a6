"""What observers are told is what records hold, live and afterwards."""

from __future__ import annotations

import msgspec
import pytest

from lth_bench.errors import Stopped
from lth_bench.experiments.plan import plan, read_suite
from lth_bench.experiments.plugins import load_plugins
from lth_bench.hashing import canonical
from lth_bench.running.observing import Audience
from lth_bench.running.run import run
from lth_bench.running.worker import make_context
from lth_bench.storage.events import (
    ExperimentFinished,
    ExperimentLeft,
    ExperimentMeasured,
    ExperimentPruned,
    ExperimentStarted,
    Live,
    replayed,
)
from lth_bench.storage.record import Curve, Pruning, builtins, ended, identity, identity_of
from lth_bench.storage.records import read_record, write_record
from lth_bench.storage.store import Store
from lth_bench.training.session import Session
from support.places import ROOT
from support.records import planned
from support.suites import pruner, write_suite

METHODS = [
    pruner("dense", sparsities=[0]),
    pruner("magnitude"),
    pruner("imp", arguments={"rewind_to": "3it"}, controls=["redraw"]),
    pruner("snip"),
    pruner("iterative_snip"),
    pruner("gmp"),
    pruner("rigl"),
    pruner("edge_popup"),
    pruner("dst"),
    pruner("wanda", after=["r"]),
]


class Heard:
    """An observer that keeps what it is told of each try."""

    def __init__(self):
        self.tries = []

    def __call__(self, started):
        self.tries.append([started])
        return self

    def note(self, event):
        self.tries[-1].append(event)

    measured = pruned = finished = left = note


def identities(folder, pruners):
    suite = write_suite(folder / "s.toml", pruners, sparsities=[0.75], duration="2ep")
    plugins = load_plugins()
    name, content = read_suite(str(suite), plugins)
    return [identity(name, item) for item in plan(content, plugins)]


def run_aloud(item, directory, told):
    """Runs an experiment with the store of a run directory; what it tells is appended to `told`, as it is sent."""
    context = make_context(None, "cpu", Store(directory / "store"))
    context.watch.tell = lambda event: told.append(sent(event))
    record = run(item, directory, context)
    write_record(directory, record)
    return record


def sent(event):
    """An event at the other end of a channel."""
    return msgspec.json.decode(canonical(builtins(event)), type=Live)


@pytest.mark.parametrize("pruners", METHODS, ids=lambda text: text.split('"')[1])
def test_what_is_told_while_a_method_runs_or_is_looked_up_is_what_its_record_holds(pruners, tmp_path):
    for item in identities(tmp_path, pruners):
        for _ in ("computed", "looked up"):
            told = []
            record = run_aloud(item, tmp_path, told)
            assert record.status == "done", record.error
            assert told == list(replayed(record))
            points = [event for event in told if isinstance(event, ExperimentMeasured)]
            assert len(points) == len(record.curve.step) >= 2
            prunings = [event for event in told if isinstance(event, ExperimentPruned)]
            if item.experiment.sparsity:
                assert prunings[-1].kept == record.sparsity.mask and len(prunings) == len(record.prunings)
            else:
                assert not prunings
        assert record.timing.steps_computed == 0 or item.experiment.pruner.name not in ("dense", "magnitude", "imp")


def test_a_stopped_experiment_tells_everything_again_that_its_checkpoint_holds(tmp_path, monkeypatch):
    (item,) = identities(tmp_path, pruner("dense", sparsities=[0]))
    told, compute = [], Session.compute

    def stopping(session, until):
        compute(session, min(until, session.step + 1))
        session._memory.watch.stopping = session.step == 25

    with monkeypatch.context() as patch, pytest.raises(Stopped):
        patch.setattr(Session, "compute", stopping)
        run_aloud(item, tmp_path, told)
    again = []
    record = run_aloud(item, tmp_path, again)
    assert record.timing.steps_computed == record.curve.step[-1] - 25
    assert len(told) == 1 and again == list(replayed(record)) and again[:1] == told


def test_of_what_diverges_the_points_before_are_told(tmp_path):
    suite = write_suite(tmp_path / "s.toml", pruner("dense", sparsities=[0]), rate=1e30)
    plugins = load_plugins()
    name, content = read_suite(str(suite), plugins)
    (item,) = [identity(name, one) for one in plan(content, plugins)]
    told = []
    record = run_aloud(item, tmp_path, told)
    assert record.status == "diverged" and told == []


ITEM = identity("made", planned("imp", 0.5, 0))
STARTED = ExperimentStarted(ITEM, "runs/made")


def point(step, kept=9):
    return ExperimentMeasured(step, kept, 0.5, 0.25, 0.75)


def finished(points, prunings=()):
    """The end of an experiment with this curve."""
    columns = zip(*(msgspec.structs.astuple(point)[:-1] for point in points), strict=True)
    curve = Curve(*(list(column) for column in columns))
    return ExperimentFinished(ended(ITEM, "done", curve=curve, prunings=list(prunings)))


def heard(*events):
    """What an observer is told, try by try, without the start and with positions in place of whole events."""
    observer = Heard()
    audience = Audience(observer)
    for event in events:
        audience.hear(ITEM.key, event)
    return [[getattr(event, "position", type(event).__name__) for event in told[1:]] for told in observer.tries]


def test_rounds_lie_behind_each_other():
    live = [point(10), point(20), ExperimentPruned(20, 5), point(12, 5), point(20, 5)]
    end = finished([point(10), point(20), point(12, 5), point(20, 5)], [Pruning(20, 5, 2)])
    assert heard(STARTED, *live, end) == [[10, 20, 20, 32, 40, "ExperimentFinished"]]
    assert heard(STARTED, end) == [[10, 20, 20, 32, 40, "ExperimentFinished"]]
    once = finished([point(20), point(20, 5)], [Pruning(20, 5, 1)])
    assert heard(STARTED, once) == [[20, 20, 40, "ExperimentFinished"]]
    assert heard(STARTED, finished([point(20), point(20)])) == [[20, 40, "ExperimentFinished"]]


def test_what_was_missed_is_told_before_the_end_and_what_was_wrong_is_told_anew():
    end = finished([point(10), point(20)])
    assert heard(STARTED, point(10), end) == [[10, 20, "ExperimentFinished"]]
    assert heard(STARTED, point(11), end) == [[11], [10, 20, "ExperimentFinished"]]
    assert heard(STARTED, point(10), point(20), point(30), end) == [[10, 20, 30], [10, 20, "ExperimentFinished"]]


def test_an_experiment_that_begins_again_is_told_from_the_start():
    end = finished([point(10), point(20)])
    tries = heard(STARTED, point(10), ExperimentLeft(), STARTED, point(10), point(20), end)
    assert tries == [[10, "ExperimentLeft"], [10, 20, "ExperimentFinished"]]


def test_an_observer_hears_only_what_it_has_methods_for():
    assert Audience(lambda started: object()).hear(ITEM.key, STARTED) is None


def test_what_was_asked_for_and_what_came_of_it_are_plain_values_by_the_names_of_a_record():
    record = read_record(min((ROOT / "leaderboards" / "quickstart" / "records").glob("*.json")))
    asked = ExperimentStarted(identity_of(record), "x").asked
    assert asked["key"] == record.key and asked["seed"] == record.experiment.seed
    assert asked["experiment/recipe/batch_size"] == record.experiment.recipe.batch_size
    assert all(isinstance(value, str | int | float | list) for value in asked.values())
    results = ExperimentFinished(record).results
    assert results["test/last/accuracy"] == record.test.last.accuracy
    assert results["sparsity/kept"] == record.sparsity.kept and results["timing/seconds"] == record.timing.seconds
    assert {type(value) for value in results.values()} <= {int, float}
