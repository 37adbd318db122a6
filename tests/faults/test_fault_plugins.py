"""Plugins that misbehave, and plugins that cheat."""

from __future__ import annotations

import json

import pytest
import torch
from conftest import make_session
from hypothesis import given, settings
from hypothesis import strategies as st
from injection import journal, pruner, results, write_suite

from lth_bench.files import names, publish_json
from lth_bench.masks import MaskError
from lth_bench.memory import numerics
from lth_bench.plugins import load_plugins
from lth_bench.records import read_records
from lth_bench.results import load
from lth_bench.site import Site
from lth_bench.suite import plan, read_suite

SPARSITIES = [0.9]

FAULTS = {
    "raiser": ("failed", "plugin_error", "this method | has a <bug>"),
    "exiter": ("failed", "plugin_error", "0"),
    "spawner": ("failed", "plugin_error", "left a process behind"),
    "hanger": ("failed", "timeout", "showed no sign of progress for 4"),
    "quitter": ("failed", "lost", "exit code 7"),
    "segfaulter": ("failed", "lost", "signal 11 (SIGSEGV)"),
    "hoarder": ("failed", "oom", "memory"),
    "leaker": ("failed", "invalid", "not zero although they are pruned"),
    "nanwriter": ("diverged", "diverged", "at step"),
    "exploder": ("diverged", "diverged", "at step"),
    "flooder": ("done", None, None),
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
    runner = runners.command("run", path, "--out", directory, *more)
    output, _ = runner.communicate(timeout=300)
    return runner.returncode, " ".join(output.split())


@pytest.fixture
def path_of_plugins(third_party, monkeypatch):
    monkeypatch.setenv("PYTHONPATH", str(third_party))
    return third_party


@pytest.mark.timeout(400)
def test_a_plugin_costs_its_own_experiment_only(tmp_path, path_of_plugins, runners, tally):
    suite = write_suite(tmp_path / "faults.toml", "".join(map(pruner, FAULTS)), sparsities=SPARSITIES)
    limits = ("--workers", "2", "--stall-limit", "4s", "--memory-limit", "3GB")
    status, output = run(runners, suite, tmp_path / "out", *limits)
    bad = [] if status == 1 else [output]
    records = {record["label"]: record for record in read_records(tmp_path / "out")}
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


@pytest.mark.timeout(300)
def test_a_time_limit_ends_an_experiment(tmp_path, path_of_plugins, runners, tally):
    suite = write_suite(tmp_path / "faults.toml", pruner("dense", sparsities=[0.0]), duration="90000ep")
    status, output = run(runners, suite, tmp_path / "out", "--time-limit", "3s")
    (record,) = read_records(tmp_path / "out")
    bad = (
        []
        if (status, record["error"]["kind"]) == (1, "timeout") and "limit of 3 s" in output + str(record)
        else [output]
    )
    tally("longer than --time-limit", 1, bad, f"timeout: {record['error']['message']}")


@pytest.mark.timeout(300)
def test_divergence_is_a_result_and_never_averaged(tmp_path, runners, tally):
    pruners = pruner("dense", sparsities=[0.0]) + pruner("imp") + pruner("random")
    suite = write_suite(tmp_path / "faults.toml", pruners, rate="1e9")
    status, output = run(runners, suite, tmp_path / "out")
    records = read_records(tmp_path / "out")
    bad = [record["error"] for record in records if record["status"] != "diverged" or record["error"]["step"] < 1]
    bad += [] if status == 1 and "1 diverged" in output else [output]
    bad += [] if not load(tmp_path / "out").frame["last_accuracy"].notna().any() else ["an accuracy"]
    tally("diverging training", len(records), bad, "`diverged` with the step, counted in the table, no mean")


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
        bad.extend("trained" for event in session.ledger.events if event.steps)

    attempt()
    tally("wrong mask: shape, dtype, NaN, unknown layer, non-binary", len(tries), bad, "refused with the layer named")


def _rewire(session, masks):
    for _ in session.batches():
        session.rewire(masks)


@pytest.mark.timeout(300)
def test_no_weight_leaks_under_a_mask(tmp_path, path_of_plugins, runners, tally):
    """Momentum, weight decay, Adam; the plugin that writes under its mask is among FAULTS."""
    bad, tries = [], 0
    optimizers = [
        'momentum = 0.9\noptimizer = "sgd"\nweight_decay = 0.01',
        'optimizer = "adam"',
        'optimizer = "adamw"\nweight_decay = 0.1',
    ]
    for number, optimizer in enumerate(optimizers):
        pruners = pruner("imp") + pruner("magnitude") + pruner("snip") + pruner("leaker", sparsities=[0.9])
        suite = write_suite(tmp_path / f"{number}.toml", pruners)
        suite.write_text(suite.read_text().replace("momentum = 0.9", optimizer))
        run(runners, suite, tmp_path / str(number))
        for record in read_records(tmp_path / str(number)):
            tries += 1
            if record["label"] == "leaker":
                bad += [] if record["error"]["kind"] == "invalid" else [record["error"]]
                continue
            bad += [] if record["status"] == "done" else [record["error"]]
            bad += [n for n, layer in record["sparsity"]["layers"].items() if layer["kept"] > layer["mask"]]
    tally("weight leaks under the mask", tries, bad, "exactly 0 non-zeros outside; else the record is invalid")


CHEATS = {
    "honest": "done",
    "hooker": "done",
    "patcher": "done",
    "grower": "'secret'",
    "rebuilder": "not as in the dense network",
    "liar": "not zero although they are pruned",
}


@pytest.mark.timeout(300)
def test_cheating_has_no_effect_or_is_refused(tmp_path, path_of_plugins, runners, tally):
    order = [*CHEATS, "random"]
    suite = write_suite(tmp_path / "faults.toml", "".join(map(pruner, order)), sparsities=SPARSITIES)
    run(runners, suite, tmp_path / "out", "--workers", "1")
    records = {record["label"]: record for record in read_records(tmp_path / "out")}
    bad = []
    for name, wanted in CHEATS.items():
        record = records[name]
        if wanted == "done":
            same = record["status"] == "done" and record["test"] == records["honest"]["test"]
            bad += [] if same else [(name, record.get("error") or record["test"])]
        else:
            bad += [] if wanted in record["error"]["message"] else [(name, record["error"])]
    alone = write_suite(tmp_path / "alone.toml", pruner("random"), sparsities=SPARSITIES)
    run(runners, alone, tmp_path / "alone")
    (clean,) = results(tmp_path / "alone").values()
    after = results(tmp_path / "out")[clean["key"]]
    bad += [] if after["test"] == clean["test"] else ["a cheat changed the experiment after it"]
    figure = "evaluated as the honest one, or refused; 0 effect on the next experiment"
    tally("plugin changes the architecture, adds parameters, leaves hooks", len(CHEATS), bad, figure)


@pytest.mark.timeout(300)
def test_the_training_process_never_holds_the_test_split(tmp_path, path_of_plugins, runners, tally, monkeypatch):
    pruners = pruner("honest") + pruner("peeker")
    suite = write_suite(tmp_path / "faults.toml", pruners, sparsities=[0.3, 0.5, 0.9], seeds=[0, 1])
    run(runners, suite, tmp_path / "out", "--workers", "1")
    records = read_records(tmp_path / "out")
    bad = [record["error"] for record in records if record["status"] != "done"]
    monkeypatch.syspath_prepend(path_of_plugins)
    plugins = load_plugins()
    site = Site(plugins, None, torch.device("cpu"))
    held = site.test("digits")
    experiment = plan(read_suite(str(suite), plugins)[1], plugins)[0].experiment
    with pytest.raises(RuntimeError, match="found the test split"):
        plugins.pruners["peeker"]()(site.session(experiment))
    assert len(held) == 400
    tally("peeking at test data", len(records), bad, "0 of the training processes hold the test split")


@pytest.mark.timeout(300)
def test_another_environment_is_shown_and_never_mixed_silently(tmp_path, runners, tally):
    suite = write_suite(tmp_path / "faults.toml", pruner("imp"), sparsities=[0.5])
    run(runners, suite, tmp_path / "out")
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
