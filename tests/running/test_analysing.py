"""Analyses of finished experiments: what a study offers, what rows may hold, and what their training costs."""

from __future__ import annotations

from dataclasses import dataclass

import pytest
import torch

from lth_bench.errors import Unsuitable
from lth_bench.experiments.plugins import Provider
from lth_bench.results.costs import shapes, training
from lth_bench.training.ledger import Spent
from support.analyses import analysed, study_of
from support.suites import finish, pruner, write_suite

PROVIDER = Provider("tests", "tests", "tests", "0")


@pytest.fixture(scope="module")
def directory(tmp_path_factory):
    folder = tmp_path_factory.mktemp("analysing")
    pruners = pruner("dense", sparsities=[0]) + pruner("magnitude")
    finish(write_suite(folder / "s.toml", pruners, duration="1ep", sparsities=[0.9], seeds=[0, 1]), folder / "run")
    return folder / "run"


@dataclass(frozen=True)
class Yielding:
    """Yields the row that its text stands for."""

    reads_ticket = False

    def __call__(self, study):
        yield ROWS[study.record.label]


ROWS = {}


@dataclass(frozen=True)
class Twice:
    """Trains the dense network in its own order and in another one."""

    def __call__(self, study):
        for order in (0, 1):
            session = study.session(order=order)
            session.train()
            yield {"order": order, "accuracy": study.test(session.snapshot().state).accuracy}


@dataclass(frozen=True)
class Never:
    """Suits nothing."""

    def __call__(self, study):
        raise Unsuitable("it suits nothing")


def of(study, name, kind):
    """A study whose context has one more analysis."""
    study._context.plugins.analyses.add(name, kind, PROVIDER)
    return study


def test_a_session_of_a_study_repeats_the_training_of_its_experiment_from_the_store(directory):
    study = study_of(directory, "dense")
    session = study.session()
    session.train()
    assert session.account.spent.steps_computed == 0
    final = session.snapshot().state
    assert all(torch.equal(value, study.ticket.final[name]) for name, value in final.items())
    assert study.test(final).accuracy == study.record.test.last.accuracy
    assert study.test(final).loss == pytest.approx(study.record.test.last.loss, rel=1e-6)


def test_another_order_changes_the_order_and_nothing_else(directory):
    study = study_of(directory, "dense")
    own, other, again = (study.session(order=order) for order in (0, 1, 1))
    for session in (own, other):
        state = session.snapshot().state
        assert all(torch.equal(value, state[name]) for name, value in study.initial.items())
    first = [next(iter(session.batches("1it"))).labels for session in (own, other, again)]
    assert torch.equal(first[1], first[2]) and not torch.equal(first[0], first[1])
    changed = study.session(seed=7).snapshot().state
    assert not torch.equal(changed["fc1.weight"], study.initial["fc1.weight"])


def test_two_copies_go_on_from_a_state_in_orders_of_their_own(directory):
    study = study_of(directory, "dense")
    trunk = study.session()
    trunk.train(5)
    ends = []
    for order in (1, 2):
        copy = study.session(order=order)
        copy.rewind(trunk.snapshot())
        assert copy.step == 5
        copy.train()
        ends.append(copy.snapshot().state["fc1.weight"])
    assert not torch.equal(*ends)
    again = study_of(directory, "dense").session(order=2)
    again.rewind(trunk.snapshot())
    again.train()
    assert torch.equal(again.snapshot().state["fc1.weight"], ends[1]) and again.account.spent.steps_computed == 0


def test_a_study_knows_its_peers_and_its_dense_network(directory):
    study = study_of(directory, "magnitude", seed=1)
    peers = [(peer.identity.label, peer.experiment.seed) for peer in study.peers]
    assert sorted(peers) == [("dense", 0), ("dense", 1), ("magnitude", 0)]
    assert study.dense.experiment.seed == 1 and study.dense.identity.label == "dense"
    assert torch.equal(study.dense.ticket.start["fc1.weight"], study.initial["fc1.weight"])


def test_the_sampled_examples_are_the_same_for_all_experiments_on_the_data(directory):
    one, other = (study_of(directory, "magnitude", seed=seed).examples(20) for seed in (0, 1))
    assert torch.equal(one.inputs, other.inputs) and len(one.labels.unique()) > 5
    with pytest.raises(Unsuitable, match="5000 training examples are asked for"):
        study_of(directory, "magnitude").examples(5000)


def test_the_training_of_an_analysis_is_charged_whether_it_was_computed_or_looked_up(directory):
    first, second = Spent(), Spent()
    study = of(study_of(directory, "dense"), "twice", Twice)
    records = [analysed(study, "twice", first)]
    study = of(study_of(directory, "dense"), "twice", Twice)
    records.append(analysed(study, "twice", second))
    steps = 2 * sum(event.steps for event in study.record.events)
    assert (first.steps_computed, first.steps_looked_up) == (steps // 2, steps // 2)
    assert (second.steps_computed, second.steps_looked_up) == (0, steps)
    assert records[0].findings == records[1].findings
    (work,) = records[0].findings.work
    once = training(shapes(study.record.network), study.record.events)
    assert training(shapes(work.network), work.events) == tuple(2 * flops for flops in once)


@pytest.mark.parametrize(
    ("row", "words"),
    [
        ({"seed": 1}, "a row has a column 'seed', which tables fill themselves"),
        ({"values": [1, 2]}, "the column 'values' of a row holds several values"),
        ({"value": torch.tensor(float("inf"))}, "the column 'value' of a row holds inf"),
        ({"value": None}, "holds a value of type 'NoneType'"),
        ("row", "yields rows, mappings of names to numbers and texts, not 'row'"),
    ],
)
def test_rows_that_a_record_cannot_hold_are_refused(directory, monkeypatch, row, words):
    monkeypatch.setitem(ROWS, "dense", row)
    record = analysed(of(study_of(directory, "dense"), "yielding", Yielding), "yielding")
    assert record.status == "failed" and words in record.error.message


def test_numbers_of_torch_become_plain_ones(directory, monkeypatch):
    monkeypatch.setitem(ROWS, "dense", {"share": torch.tensor(0.5), "count": torch.tensor(3), "layer": "fc1"})
    record = analysed(of(study_of(directory, "dense"), "yielding", Yielding), "yielding")
    assert record.findings.rows == [{"share": 0.5, "count": 3, "layer": "fc1"}]


def test_an_experiment_that_does_not_suit_has_a_reason_and_no_error(directory):
    record = analysed(of(study_of(directory, "dense"), "never", Never), "never")
    assert (record.status, record.findings.reason, record.findings.rows) == ("done", "it suits nothing", [])
