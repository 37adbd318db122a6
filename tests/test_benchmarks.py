"""The scripts in benchmarks/ run, and what they compare does the same work."""

from __future__ import annotations

import importlib.util
import sys

import pytest
import torch

from lth_bench.randomness import generator
from lth_bench.results.frame import load
from support.places import ROOT
from support.suites import finish

FOLDER = ROOT / "benchmarks"


@pytest.fixture
def script(monkeypatch):
    """Imports a script as it would be run, with its neighbours in reach."""
    monkeypatch.syspath_prepend(str(FOLDER))
    before = set(sys.modules)

    def load(name):
        spec = importlib.util.spec_from_file_location(f"benchmark_{name}", FOLDER / f"{name}.py")
        module = importlib.util.module_from_spec(spec)
        monkeypatch.setitem(sys.modules, spec.name, module)
        spec.loader.exec_module(module)
        return module

    yield load
    for name in {path.stem for path in FOLDER.glob("*.py")} - before:
        sys.modules.pop(name, None)


def test_every_script_can_be_imported(script):
    for path in sorted(FOLDER.glob("*.py")):
        assert script(path.stem).__doc__, path


def test_pruning_and_sorting_keep_the_same_weights(script):
    masks = script("masks")
    scores = {str(layer): torch.rand(500) for layer in range(4)}
    ours = theirs = masks.masks.full(scores)
    for sparsity in masks.SPARSITIES:
        ours, theirs = masks.masks.pruned(scores, ours, sparsity), masks.by_sorting(scores, theirs, sparsity)
        assert all(torch.equal(ours[name], theirs[name]) for name in scores)


def test_the_bare_loop_does_the_same_maths_as_the_harness(script):
    step = script("step")
    step.register_models(step.load_plugins().models.items)
    recipe = step.Recipe(step.EVERY, 60, measure_every=step.EVERY, **step.ADAM)
    session = step.make_session("lenet_300_100", (1, 28, 28), recipe)
    model = step.timm.create_model("lenet_300_100")
    model.load_state_dict(session.model.state_dict())
    order = torch.randperm(50_000 - 5_000, generator=generator(0, "order", 0))
    step.bare_block(model, session, 3, lambda size: order)()
    session.train(until=3)
    mine, theirs = (made.state_dict().values() for made in (session.model, model))
    assert all(torch.equal(one, other) for one, other in zip(mine, theirs, strict=True))


def test_synthetic_records_are_records(script, tmp_path):
    tables = script("tables")
    paths = [tables.write(tmp_path, record) for record in tables.records(2, 3, 2)]
    assert len(set(paths)) == 2 * 2 * (1 + 3 * len(tables.TARGETS))
    assert tables.leaderboard(tmp_path) > 10 << 20


def test_versions_are_compared_by_the_runs_of_one_round(script):
    ours = {("new", "a run"): [(1.0, 2.0), (4.0, 8.0), (3.0, 3.0)]}
    theirs = {("old", "a run"): [(2.0, 2.0), (8.0, 4.0), (6.0, 1.0)]}
    clock, processors = script("loop").ratios({**ours, **theirs})
    assert clock.startswith("new beside old, a run, time: ratio 0.500 (median of 3 pairs")
    assert processors.startswith("new beside old, a run, processor time: ratio 2.000 ")


def test_the_run_of_the_readme_takes_as_many_steps_as_it_says(script, tmp_path):
    run = script("run")
    (tmp_path / "whole.toml").write_text(run.SUITE.replace("mnist", "digits").replace("EPOCHS", "1"))
    finish(tmp_path / "whole.toml", tmp_path / "out")
    trainings = load(tmp_path / "out").evidence.computed / (1197 // 60)
    steps = trainings * run.EPOCHS * (55_000 // 60)
    assert (
        f"a whole `lth-bench run`: 4 methods, {round(steps, -3):,.0f} steps of LeNet"
        in (ROOT / "README.md").read_text()
    )


def test_conventional_scripts_take_as_many_steps_as_the_harness(script):
    conventional, paper = script("conventional"), script("paper")
    images, labels = conventional.photographs(300)
    ours = conventional.harness("cifar_resnet20", conventional.crowd(images, labels), conventional.RESNET)
    theirs = conventional.Script(
        "cifar_resnet20", conventional.loaded(images, labels), conventional.RESNET, 0, ours.masks
    )
    theirs.epoch()
    assert ours.steps("1ep") == len(theirs.loader) == 2
    assert paper.cells()[0] == ("reset", 21) and len(paper.cells()) == 31
