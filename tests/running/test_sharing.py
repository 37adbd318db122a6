"""What a comparison shares is trained once, and no record tells the difference."""

from __future__ import annotations

import dataclasses

import pytest

from lth_bench.experiments.experiment import Planned
from lth_bench.experiments.plan import plan, read_suite
from lth_bench.experiments.plugins import load_plugins
from lth_bench.results.frame import load
from lth_bench.running.queue import Queue
from lth_bench.running.run import run
from lth_bench.running.worker import make_context
from lth_bench.storage.files import append
from lth_bench.storage.record import identity
from lth_bench.storage.records import write_plan, write_record
from lth_bench.storage.store import Store
from lth_bench.training.ledger import Spent
from support.documents import read_documents
from support.places import ROOT
from support.suites import results


@pytest.fixture(scope="module")
def table():
    """The built-in suite, with iterations in the place of epochs."""
    plugins = load_plugins()
    name, content = read_suite("paper-table", plugins)
    content.recipes["short"] |= {"duration": "10it", "measure_every": "1it"}
    content.pruners[4].arguments["rewind_to"] = "1it"
    return name, plan(content, plugins)


def filled(directory, table, site):
    name, planned = table
    write_plan(directory, name, planned)
    for item in planned:
        write_record(directory, run(identity(name, item), directory, site))
    return read_documents(directory)


def shared(directory):
    """Steps computed, and steps charged."""
    evidence = load(directory).evidence
    return evidence.computed, evidence.charged


def test_a_paper_table_trains_as_little_of_what_isolated_experiments_do_as_the_readme_says(tmp_path, table):
    site = make_context(None, "cpu", Store(tmp_path / "store"))
    filled(tmp_path / "cold", table, site)
    computed, charged = shared(tmp_path / "cold")
    isolated = filled(tmp_path / "isolated", table, dataclasses.replace(site, store=None))
    assert {record["status"] for record in isolated} == {"done"}
    assert shared(tmp_path / "isolated") == (charged, charged), "charged is what is computed without a store"
    words = f"`paper-table` compute {computed} of the {charged:,} epochs ({computed / charged:.0%})".replace("%", " %")
    assert words in " ".join((ROOT / "README.md").read_text().split())
    entries = [entry for _, entry in site.store.entries() if not entry["parts"]]
    assert computed == sum(entry["end"] - entry["start"] for entry in entries), "nothing was computed twice"
    filled(tmp_path / "warm", table, site)
    assert shared(tmp_path / "warm") == (0, charged)
    wanted = results(tmp_path / "isolated")
    assert results(tmp_path / "cold") == results(tmp_path / "warm") == wanted


def test_a_parked_experiment_goes_behind_one_seed_more_each_time(tmp_path, table):
    seeds = (3, 1, 2)
    _, planned = table
    wanted = [dataclasses.replace(item.experiment, seed=seed) for item in planned for seed in seeds]
    identities = [identity("made", Planned(item, "label", "r", False)) for item in wanted]
    queue = Queue(tmp_path, identities, Store(tmp_path / "store"), 60)
    short, long = Spent(0, 0), Spent(0, 10)

    def taken():
        return queue.next(lambda *event: None)

    first = taken()
    assert first.identity.experiment.sparsity == 0
    queue.park(first, "a segment that is there", short)
    assert taken().key == first.key, "nothing is lost"
    once, twice = taken(), taken()
    assert once.identity.experiment.sparsity == max(item.sparsity for item in wanted)
    for task in (once, twice):
        queue.park(task, "a segment that is there", long)
    keys = [taken().key for _ in range(len(identities) // 3 - 3)]
    assert not {once.key, twice.key} & set(keys), "the others of the seed come first"
    assert taken().key == once.key
    again = taken()
    assert again.key == twice.key
    queue.park(again, "a segment that is there", long)
    rest = [taken() for _ in range(len(identities) * 2 // 3 + 1)]
    found = [task.identity.experiment.seed for task in rest]
    half = len(identities) // 3
    assert found == [1] * half + [3] + [2] * half


def test_what_was_spent_on_an_experiment_is_known_to_whoever_takes_it_next(tmp_path, table):
    _, planned = table
    identities = [identity("made", item) for item in planned[:2]]
    first, second = (Queue(tmp_path, identities, Store(tmp_path / "store"), 60) for _ in range(2))

    def taken(queue):
        task = queue.next(lambda *event: None)
        return task, queue.spent(task).steps_computed

    task, spent = taken(first)
    assert spent == 0
    first.park(task, "a segment that is there", Spent(152, 0))
    for steps in ("[]", '"many"', "1e999", "NaN"):
        line = f'{{"event": "parked", "key": "{task.key}", "steps_computed": {steps}}}\n{{"event": 3\n[]\n'
        append(tmp_path / "journal.jsonl", line.encode())
    again, spent = taken(second)
    assert (again.key, spent) == (task.key, 152)
    assert taken(second)[1] == 0, "of this one nobody has computed anything"
    second.give_back(again, "stopped", Spent(200, 152))
    last, spent = taken(first)
    assert (last.key, spent) == (task.key, 200)
