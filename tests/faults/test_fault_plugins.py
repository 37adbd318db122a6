"""Plugins that misbehave, and plugins that cheat."""

from __future__ import annotations

import json
import time

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from lth_bench.errors import MaskError
from lth_bench.experiments.experiment import Choice
from lth_bench.experiments.plan import plan, read_suite
from lth_bench.experiments.plugins import load_plugins
from lth_bench.results.frame import load
from lth_bench.running.context import Context
from lth_bench.storage.reading import names
from lth_bench.storage.sealed import publish_json
from lth_bench.training.numerics import numerics
from support.documents import read_documents
from support.networks import make_session
from support.runners import journal
from support.suites import finish, pruner, results, write_suite

SPARSITIES = [0.9]

FAULTS = {
    "raiser": ("failed", "plugin_error", "this method | has a <bug>"),
    "exiter": ("failed", "plugin_error", "0"),
    "spawner": ("failed", "plugin_error", "left a process behind"),
    "hanger": ("failed", "timeout", "showed no sign of progress for 4"),
    "plodder": ("failed", "timeout", "took longer than the limit of 8 s"),
    "quitter": ("failed", "lost", "exit code 7"),
    "segfaulter": ("failed", "lost", "signal 11 (SIGSEGV)"),
    "hoarder": ("failed", "oom", "memory"),
    "forger": ("failed", "lost", "exit code 0"),
    "halver": ("failed", "lost", "exit code 0"),
    "babbler": ("failed", "plugin_error", "weights-\\udcff.bin"),
    "mute": ("failed", "plugin_error", "its message cannot be made"),
    "curver": ("failed", "invalid", "are not plain values"),
    "closer": ("done", None, None),
    "leaker": ("failed", "invalid", "are not zero"),
    "nanwriter": ("diverged", "diverged", "at step"),
    "exploder": ("diverged", "diverged", "at step"),
    "flooder": ("done", None, None),
    "litterer": ("done", None, None),
    "honest": ("done", None, None),
}
TRACES = {
    "raiser": "in __call__",
    "exiter": "sys.exit(0)",
    "hanger": "faulty.py",
    "segfaulter": "faulty.py",
    "hoarder": "faulty.py",
}


def run(runners, path, directory, *more):
    runner = runners.command("run", path, "--out", directory, "--no-report", *more)
    output, _ = runner.communicate(timeout=300)
    return runner.returncode, " ".join(output.split())


@pytest.fixture
def path_of_plugins(third_party, monkeypatch):
    monkeypatch.setenv("PYTHONPATH", str(third_party))
    return third_party


@pytest.mark.timeout(400)
def test_a_plugin_costs_its_own_experiment_only(tmp_path, path_of_plugins, runners, tally):
    suite = write_suite(tmp_path / "faults.toml", "".join(map(pruner, FAULTS)), sparsities=SPARSITIES)
    limits = ("--workers", "2", "--stall-limit", "4s", "--time-limit", "8s", "--memory-limit", "2GB")
    status, output = run(runners, suite, tmp_path / "out", *limits)
    bad = [] if status == 1 else [output]
    records = {record["label"]: record for record in read_documents(tmp_path / "out")}
    for name, (wanted, kind, words) in FAULTS.items():
        record = records[name]
        error = record.get("error", {})
        bad += [] if record["status"] == wanted and error.get("kind") == kind else [(name, record["status"], error)]
        bad += [] if not words or words in error["message"] else [(name, error)]
        bad += [] if TRACES.get(name, "") in error.get("traceback", "") else [(name, error["traceback"])]
        bad += [] if error.get("quarantined", False) == (kind in ("lost", "oom")) else [(name, "quarantine")]
    tries = {line["key"]: line["generation"] for line in journal(tmp_path / "out") if line["event"] == "claimed"}
    bad += [name for name in ("quitter", "segfaulter", "hoarder") if tries[records[name]["key"]] != 3]
    bad += [] if runners.gone() else [f"{len(runners.processes())} processes are left"]
    logs = sum(path.stat().st_size for path in (tmp_path / "out" / "logs").iterdir())
    bad += [] if logs < 8 << 20 else [f"{logs} bytes of logs"]
    status, output = run(runners, suite, tmp_path / "out", *limits, "--only", "label in ['quitter', 'honest']")
    bad += [] if "already in" in output else ["what was quarantined was tried again"]
    tally("plugin raises, hangs, exits, segfaults, floods stdout", len(FAULTS), bad, "own class each, 0 others harmed")


@pytest.mark.timeout(100)
def test_no_process_outlives_a_killed_runner(tmp_path, path_of_plugins, runners):
    suite = write_suite(tmp_path / "faults.toml", pruner("holder"), sparsities=[0.9])
    runner = runners.command("run", suite, "--out", tmp_path / "out", "--workers", "1")
    while not (journal(tmp_path / "out") and len(runners.processes()) == 4):  # runner, fork server, worker, its child
        time.sleep(0.1)
    time.sleep(2)
    runners.kill(runner.pid)
    assert runners.gone(within=10)


def changes(draw, session):
    """Masks or scores with one thing wrong in one layer."""
    layer = draw(st.sampled_from(sorted(session.masks)))
    masks = {name: mask.clone() for name, mask in session.masks.items()}
    kind = draw(st.sampled_from(["shape", "dtype", "unknown", "missing", "float"]))
    if kind == "shape":
        masks[layer] = masks[layer].flatten()[:-1]
    elif kind == "dtype":
        masks[layer] = masks[layer].to(draw(st.sampled_from([torch.int8, torch.uint8, torch.int64])))
    elif kind == "float":
        masks[layer] = masks[layer] * draw(st.floats(0.1, 2))
    elif kind == "unknown":
        layer = draw(st.text("abc.", min_size=1, max_size=5)) + ".weight"
        masks[layer] = torch.ones(3, dtype=torch.bool)
    else:
        del masks[layer]
    return layer, masks


def test_wrong_masks_and_scores_are_refused_with_the_layer(tally):
    tries, bad = [], []

    @settings(max_examples=150, deadline=None, database=None)
    @given(st.data())
    def attempt(data):
        session = make_session()
        if data.draw(st.booleans()):
            layer, masks = changes(data.draw, session)
            call = data.draw(st.sampled_from([session.adopt, lambda masks: _rewire(session, masks)]))
        else:
            layer = data.draw(st.sampled_from(sorted(session.masks)))
            masks = {name: torch.rand_like(weight) for name, weight in session.weights.items()}
            if data.draw(st.booleans()):
                masks[layer].view(-1)[data.draw(st.integers(0, 10))] = data.draw(
                    st.sampled_from([float("nan"), float("inf"), float("-inf")])
                )
            else:
                masks[layer] = masks[layer].flatten()[1:]
            call = session.prune
        before = [mask.clone() for mask in session.masks.values()]
        tries.append(layer)
        try:
            call(masks)
            bad.append(f"{layer} was accepted")
        except MaskError as error:
            if layer not in str(error):
                bad.append(str(error))
        bad.extend("changed" for a, b in zip(before, session.masks.values(), strict=True) if not torch.equal(a, b))
        bad.extend("trained" for event in session.account.ledger.events if event.steps)

    attempt()
    tally("wrong mask: shape, dtype, NaN, unknown layer, non-binary", len(tries), bad, "refused with the layer named")


def _rewire(session, masks):
    for _ in session.batches():
        session.rewire(masks)


RECIPES = """
[recipes.adam]
duration = "3ep"
batch_size = 60
optimizer = "adam"
learning_rate = 0.01

[recipes.decay]
duration = "3ep"
batch_size = 60
optimizer = "adamw"
learning_rate = 0.01
weight_decay = 0.1

[recipes.wild]
duration = "3ep"
batch_size = 60
learning_rate = 1e9
"""


@pytest.mark.timeout(300)
def test_no_weight_leaks_under_a_mask_and_no_divergence_is_averaged(tmp_path, path_of_plugins, runners, tally, long):
    names = ("imp", "magnitude", "snip", "leaker")
    kinds = [(name, recipe) for recipe in ("r", "adam", "decay", "wild") for name in names]
    rows = [pruner(name, recipe=recipe, label=f"{name} {recipe}") for name, recipe in kinds]
    grid = [0.5, 0.9] if long else [0.9]
    suite = write_suite(tmp_path / "faults.toml", RECIPES + "".join(rows), sparsities=grid)
    status, output = run(runners, suite, tmp_path / "out")
    records = read_documents(tmp_path / "out")
    leaks = [record for record in records if record["label"].startswith("leaker")]
    wild = [record for record in records if record["recipe"] == "wild" and record not in leaks]
    tame = [record for record in records if record not in leaks + wild]
    bad = [record["error"] for record in leaks if record["status"] == "done" or record["error"]["kind"] != "invalid"]
    for record in tame:
        bad += [] if record["status"] == "done" else [record["error"]]
        bad += [name for name, layer in record["sparsity"]["layers"].items() if layer["kept"] > layer["mask"]]
    figure = "exactly 0 non-zeros outside; else the record is invalid"
    tally("weight leaks under the mask", len(tame) + len(leaks), bad, figure)
    bad = [record for record in wild if record["status"] != "diverged" or record["error"]["step"] < 1]
    bad += [] if status == 1 and "1 diverged" in output else [output]
    frame = load(tmp_path / "out").frame
    bad += [] if not frame[frame["recipe"] == "wild"]["last_accuracy"].notna().any() else ["an accuracy"]
    tally("diverging training", len(wild), bad, "`diverged` with the step, counted in the table, no mean")


CHEATS = {
    "honest": "done",
    "hooker": "done",
    "patcher": "done",
    "grower": "'secret'",
    "rebuilder": "unlike in the dense network",
    "liar": "are not zero",
}


@pytest.mark.timeout(300)
def test_cheating_has_no_effect_or_is_refused(tmp_path, path_of_plugins, runners, tally, monkeypatch):
    peekers = pruner("peeker", sparsities=[0.3, 0.5, 0.7])
    suite = write_suite(tmp_path / "faults.toml", "".join(map(pruner, [*CHEATS, "random"])) + peekers, sparsities=[0.9])
    run(runners, suite, tmp_path / "out", "--workers", "1")
    every = read_documents(tmp_path / "out")
    records = {record["label"]: record for record in every}
    bad = []
    for name, wanted in CHEATS.items():
        record = records[name]
        if wanted == "done":
            same = record["status"] == "done" and record["test"] == records["honest"]["test"]
            bad += [] if same else [(name, record.get("error") or record["test"])]
        else:
            bad += [] if wanted in record["error"]["message"] else [(name, record["error"])]
    finish(write_suite(tmp_path / "alone.toml", pruner("random"), sparsities=[0.9]), tmp_path / "alone")
    (clean,) = results(tmp_path / "alone").values()
    after = results(tmp_path / "out")[clean["key"]]
    bad += [] if after["test"] == clean["test"] else ["a cheat changed the experiment after it"]
    figure = "evaluated as the honest one, or refused; 0 effect on the next experiment"
    tally("plugin changes the architecture, adds parameters, leaves hooks", len(CHEATS), bad, figure)
    peeked = [record for record in every if record["label"] == "peeker"]
    bad = [record["error"] for record in peeked if record["status"] != "done"]
    bad += [] if finds_what_is_held(suite, path_of_plugins, monkeypatch) else ["the peeker would not find it"]
    tally("peeking at test data", len(peeked), bad, "0 of the training processes hold the test split")


def finds_what_is_held(suite, folder, monkeypatch):
    monkeypatch.syspath_prepend(folder)
    plugins = load_plugins()
    site = Context(plugins, None, torch.device("cpu"))
    held = site.test(Choice("digits"))
    planned = plan(read_suite(str(suite), plugins)[1], plugins)
    with pytest.raises(RuntimeError, match="found the test split"):
        plugins.pruners["peeker"]()(site.session(planned[0].experiment))
    return len(held) == 400


@pytest.mark.timeout(300)
def test_another_environment_is_shown_and_never_mixed_silently(tmp_path, runners, tally):
    finish(write_suite(tmp_path / "faults.toml", pruner("imp"), sparsities=[0.5]), tmp_path / "out")
    store = tmp_path / "out" / "store" / "entries"
    before = set(names(store))
    (path,) = (tmp_path / "out" / "records").iterdir()
    record = json.loads(path.read_text())
    record["environment"]["torch"] = "0.0"
    record["environment"]["threads"] = 64
    publish_json(path, {name: value for name, value in record.items() if name != "checksum"})
    more = write_suite(tmp_path / "faults.toml", pruner("imp"), sparsities=[0.5, 0.6])
    status, output = run(runners, more, tmp_path / "out")
    bad = [] if status == 0 and "Not all were run in one environment" in output else [output]
    bad += [] if "torch 0.0" in output and "threads 64" in output else [output]
    bad += [] if before < set(names(store)) else ["the store was not used"]
    here = numerics(torch.device("cpu"))
    keys = {"device", "torch", "threads", "dtype", "semantics"}
    bad += [] if keys <= set(here) else [here]
    tally("other versions, device or thread count on resume", 1, bad, "named under the table; not shared by the store")


def test_every_fault_of_a_suite_is_listed_and_nothing_started(tmp_path, runners, tally):
    suite = write_suite(tmp_path / "faults.toml", pruner("imq") + pruner("imp", arguments={"rate": 2.0}), rate='"much"')
    suite.write_text(suite.read_text().replace('["digits"]', '["digit"]').replace("title", "colour = 3\ntitle", 1))
    status, output = run(runners, suite, tmp_path / "out")
    bad = [] if status == 2 and not (tmp_path / "out").exists() else [output]
    faults = ("colour", "recipes.r.learning_rate", "pruners[0].name", "pruners[1].arguments.rate", "datasets[0]")
    bad += [fault for fault in faults if fault not in output]
    tally("bad suite file", len(faults), bad, "every fault listed with its place, nothing started")
