"""Messages between processes: what is sent arrives as it was, and nothing else arrives."""

from __future__ import annotations

import socket
from pathlib import Path

import pytest

from lth_bench.experiments.experiment import Choice
from lth_bench.running.exchange import Exchange, TookTooLong
from lth_bench.running.limits import Limits
from lth_bench.running.messages import (
    Began,
    BestStep,
    Channel,
    Check,
    Checkpointed,
    Ended,
    Evaluate,
    Facts,
    Handed,
    Idle,
    MustWait,
    Observe,
    Progress,
    Stop,
    Told,
    Train,
    Trained,
)
from lth_bench.running.sweep import Sweep
from lth_bench.storage.events import (
    ExperimentFinished,
    ExperimentLeft,
    ExperimentMeasured,
    ExperimentPruned,
    ExperimentStarted,
)
from lth_bench.storage.record import Pruning, RecordedError, Timing, failed, identity
from lth_bench.storage.records import read_record
from lth_bench.training.ledger import Spent
from support.places import ROOT
from support.records import planned

RECORD = read_record(min((ROOT / "leaderboards" / "quickstart" / "records").glob("*.json")))
ONE = identity("made", planned("imp", 0.5, 0))
FAILED = failed(ONE, RecordedError(kind="lost", message="gone", traceback=""), timing=Timing("now", 1.0))
FACTS = Facts(
    3,
    2,
    {"early_stop": BestStep(1, False)},
    RECORD.curve,
    [Pruning(2, 3, 1)],
    RECORD.events,
    {"a": [1, None]},
    {"w": 3},
)
TRAINED = Trained(Handed("0" * 64, {"w": [2, 3]}, FACTS), RECORD.environment, RECORD.timing)
EVENTS = (
    ExperimentStarted(ONE, "out"),
    ExperimentMeasured(1, 9, None, 0.5, 0.25),
    ExperimentFinished(RECORD),
    ExperimentLeft(),
)
MESSAGES = [
    Sweep(Path("out"), None, "cpu").settings(),
    Check([ONE.experiment], room=True),
    Train(ONE, 2, Spent(3, 4)),
    TRAINED,
    Evaluate(ONE, 2, TRAINED),
    MustWait("segment", Spent(1, 2)),
    Ended(RECORD),
    Ended(FAILED),
    Observe("out", Choice("mlflow", {"uri": "x"})),
    ExperimentPruned(3, 4),
    *(Told("key", event) for event in EVENTS),
    Stop(),
    Idle(-9),
]


@pytest.fixture
def channels():
    ends = socket.socketpair()
    yield [Channel(end) for end in ends]
    for end in ends:
        end.close()


@pytest.mark.parametrize("message", MESSAGES, ids=lambda message: type(message).__name__)
def test_a_message_arrives_as_it_was_sent(channels, message):
    here, there = channels
    here.send(message)
    assert there.receive(1) == message


@pytest.mark.parametrize(
    "line",
    [b"", b"[1]", b"xyz", b'{"type":"Ended"}', b'{"type":"Idle","code":"many"}', b'{"type":"Nobody"}', b"[" * 100_000],
)
def test_lines_that_are_no_messages_are_skipped(channels, line):
    here, there = channels
    here.end.sendall(line + b"\n")
    here.send(Progress(1))
    assert there.receive(1) == Progress(1)


@pytest.mark.parametrize(
    ("request_", "message", "accepted"),
    [
        (Train(ONE, 1, Spent()), TRAINED, True),
        (Train(ONE, 1, Spent()), Checkpointed(Spent()), True),
        (Train(ONE, 1, Spent()), Ended(FAILED), True),
        (Train(ONE, 1, Spent()), Ended(RECORD), False),
        (Evaluate(ONE, 1, TRAINED), Ended(RECORD), True),
        (Evaluate(ONE, 1, TRAINED), Ended(FAILED), True),
        (Evaluate(ONE, 1, TRAINED), TRAINED, False),
        (Evaluate(ONE, 1, TRAINED), MustWait("segment", Spent()), False),
    ],
)
def test_only_an_answer_to_the_request_is_taken_as_one(request_, message, accepted):
    exchange = Exchange(request_, Limits())
    exchange.hear(message)
    assert (exchange.answer == message) is accepted


def test_silence_ends_an_exchange():
    exchange = Exchange(Train(ONE, 1, Spent()), Limits(stall=-1.0))
    exchange.check_time()
    exchange.hear(Began(1))
    with pytest.raises(TookTooLong, match="no sign of progress"):
        exchange.check_time()
