"""The examples in the documentation run."""

from __future__ import annotations

import csv
import dataclasses
import importlib
import json
import re
import shlex
import sys
import tomllib
from collections import Counter
from functools import partial

import huggingface_hub
import numpy as np
import pytest
import timm
from safetensors.torch import save_file
from typer.testing import CliRunner

import lth_bench
from lth_bench import Batch, Dataset, Listing, Recipe
from lth_bench.cli.main import app
from lth_bench.experiments import hookspecs
from lth_bench.experiments.durations import Duration
from lth_bench.experiments.experiment import Choice, Experiment
from lth_bench.experiments.plan import plan, read_suite
from lth_bench.experiments.plugins import KINDS, Provider, load_plugins
from lth_bench.experiments.suite import Suite
from lth_bench.pruning import masks
from lth_bench.reports.claims import formatted, judgements
from lth_bench.reports.columns import NUMBERS
from lth_bench.reports.paper.choices import TableChoices
from lth_bench.results.analyses import analyses
from lth_bench.results.frame import load
from lth_bench.results.overlap import COLUMNS as OVERLAPS
from lth_bench.results.statistics import mean_interval
from lth_bench.running.observing import Audience
from lth_bench.running.preflight import preflight
from lth_bench.running.run import run
from lth_bench.running.standing import done
from lth_bench.running.worker import make_context
from lth_bench.storage.record import identity
from lth_bench.storage.records import read_records
from support.analyses import study_of
from support.checkpoints import in_hub_cache
from support.documents import read_documents
from support.fresh import fresh
from support.networks import make_session
from support.places import ROOT
from support.suites import finish, pruner, write_suite

SHORT = Recipe(Duration("60it"), 64, 0.05, momentum=0.9)
PUBLIC = [
    "__version__",
    "Base",
    "Batch",
    "Count",
    "DataError",
    "Dataset",
    "Duration",
    "Listing",
    "Paper",
    "Rate",
    "Recipe",
    "Retraining",
    "Session",
    "Share",
    "Study",
    "Ticket",
    "Unsuitable",
    "chance",
    "erk",
    "global_rounds",
    "hookimpl",
    "layer_rates",
    "layerwise",
    "layerwise_rounds",
    "leaderboard",
    "load_network",
    "load_record",
    "load_ticket",
    "magnitude",
    "network",
    "results",
    "retrain",
    "run",
    "session",
    "uniform",
]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]


def blocks(language):
    for page in PAGES:
        for number, block in enumerate(re.findall(rf"```{language}\n(.*?)```", page.read_text(), re.S)):
            yield pytest.param(block, id=f"{page.name}-{number}")


class Example:
    """The Python blocks of the documentation as modules in a folder, and what all of them register."""

    def __init__(self, folder):
        self.folder, self.plugins, self.pruners = folder, load_plugins(), {}
        for parameters in blocks("python"):
            (block,) = parameters.values
            if "@hookimpl" in block:
                self._load(re.sub(r"\W", "_", parameters.id), block)
        self._write_weights()

    def _load(self, name, block):
        self.folder.joinpath(f"{name}.py").write_text(block)
        module = importlib.import_module(name)
        for kind in KINDS:
            if hook := getattr(module, f"register_{kind}", None):
                hook(partial(getattr(self.plugins, kind).add, provider=Provider(name, name, "documentation", "1")))
        if hasattr(module, "register_pruners"):
            module.register_pruners(self.pruners.__setitem__)

    def _write_weights(self):
        make_context(None, "cpu")
        network = timm.create_model("lenet_300_100", in_chans=1, num_classes=26, img_size=(8, 8))
        save_file(network.state_dict(), self.folder / "letters.safetensors")
        plain = Experiment(Choice("digits"), Choice("cifar_resnet20"), SHORT, Choice("dense"), 0.0, 0)
        session = make_context(None, "cpu").session(plain)
        session.train()
        save_file(session.model.state_dict(), self.folder / "resnet20.safetensors")


@pytest.fixture(scope="module")
def example(tmp_path_factory):
    folder = tmp_path_factory.mktemp("documentation")
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(folder))
        patch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(folder / "hub"))
        in_hub_cache(folder / "hub", "timm/resnet18.a1_in1k").write_bytes(b"weights")
        yield Example(folder)
        for path in folder.glob("*.py"):
            patch.delitem(sys.modules, path.stem)


def test_pruners_in_the_documentation_run(example):
    assert set(example.pruners) == {"early", "gated", "gradient", "shuffled", "signed"}
    for kind in example.pruners.values():
        session = make_session(sparsity=0.75)
        kind()(session)
        session.finish()
        assert sum(masks.kept(session.masks).values()) == 78


def test_the_analysis_of_the_documentation_runs(example, tmp_path):
    finish(write_suite(tmp_path / "s.toml", pruner("snip"), duration="1ep", sparsities=[0.9]), tmp_path / "run")
    own = [name for name, of in example.plugins.analyses.providers.items() if of.distribution == "documentation"]
    rows = list(example.plugins.analyses[own[0]](orders=2)(study_of(tmp_path / "run", "SNIP")))
    assert own == ["spread"] and [row["order"] for row in rows] == [1, 2]
    assert rows[0]["error"] != rows[1]["error"] and all(0 < row["error"] < 90 for row in rows)


def test_the_observer_of_the_documentation_writes_the_curves_of_records(example, tmp_path):
    finish(write_suite(tmp_path / "s.toml", pruner("imp"), duration="1ep", sparsities=[0.9]), tmp_path / "run")
    own = [name for name, of in example.plugins.observers.providers.items() if of.distribution == "documentation"]
    ((item, record),) = done(tmp_path / "run")
    Audience(example.plugins.observers[own[0]]()).replay(tmp_path / "run", item, record)
    with (tmp_path / "run" / "trackers" / "sheets" / f"{item.key}.csv").open(newline="") as file:
        rows = [(int(kept), float(accuracy)) for _, kept, accuracy in csv.reader(file)]
    assert own == ["sheets"] and rows == list(zip(record.curve.kept, record.curve.validation_accuracy, strict=True))


@pytest.mark.parametrize("block", list(blocks("toml")))
def test_files_in_the_documentation_are_valid(block, example):
    content = tomllib.loads(block)
    if "directories" in content:
        TableChoices.model_validate(content)
        return
    if "project" in content:
        assert list(content["project"]["entry-points"]) == ["lth_bench"]
        return
    if list(content) == ["claims"]:
        suite = tomllib.loads((ROOT / "plugins" / "suites" / "lenet-mnist-lite.toml").read_text())
        content = {**suite, **content}
    assert plan(Suite.model_validate(content), example.plugins, [example.folder])


PAPER = re.findall(r"^\$ lth-bench (table .*)$", (ROOT / "docs" / "papers.md").read_text(), re.M)


@pytest.mark.parametrize("command", PAPER)
def test_commands_for_tables_write_what_they_say(command, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    boards = {"runs/mine": "methods-mnist", "runs/a": "lenet-mnist-lite", "runs/b": "methods-mnist"}
    words = [str(ROOT / "leaderboards" / boards[word]) if word in boards else word for word in shlex.split(command)]
    done = CliRunner().invoke(app, words)
    assert done.exit_code == 0, done.output
    files = [words[place + 1] for place, word in enumerate(words) if word in ("--out", "--bib")]
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted(files)


def test_the_model_data_set_recipe_and_suite_of_the_documentation_make_records(example, tmp_path):
    plugins = example.plugins
    model, dataset, recipe, suite = (
        next(name for name, of in getattr(plugins, kind).providers.items() if of.distribution == "documentation")
        for kind in ("models", "datasets", "recipes", "suites")
    )
    files = [block.values[0] for block in blocks("toml")]
    (file,) = [file for file in files if dataset in tomllib.loads(file).get("datasets", [])]
    plugins.suites[suite].write_text(file)
    plugins.datasets[dataset].download(tmp_path)
    name, content = read_suite(suite, plugins)
    context = dataclasses.replace(make_context(tmp_path, "cpu"), plugins=plugins)
    identities = [identity(name, item) for item in plan(content, plugins)]
    assert preflight([item.experiment for item in identities], context) == []
    records = [run(item, tmp_path / "out", context) for item in identities]
    assert [record.status for record in records] == ["done"] * 4
    used = {(item.experiment.model.name, item.recipe) for item in records}
    assert used == {(model, recipe)}
    assert all(record.test.last.accuracy > 0.9 for record in records if not record.experiment.sparsity)


def test_the_suite_of_the_documentation_with_weights_of_a_file_has_no_fault(example):
    (file,) = [block.values[0] for block in blocks("toml") if "letters.safetensors" in block.values[0]]
    planned = plan(Suite.model_validate(tomllib.loads(file)), example.plugins, [example.folder])
    files = {item.experiment.model.arguments["weights"]: item.weights for item in planned if item.weights}
    context = dataclasses.replace(make_context(None, "cpu"), plugins=example.plugins, weights=files)
    assert preflight([item.experiment for item in planned], context) == []
    assert len(files) == 1 and {item.model_label for item in planned} == {"from letters", "LeNet-300-100"}


def test_the_suite_of_the_documentation_without_training_makes_tables_of_finite_numbers(example, command, tmp_path):
    (file,) = [block.values[0] for block in blocks("toml") if "resnet20.safetensors" in block.values[0]]
    (example.folder / "as_it_is.toml").write_text(file)
    done = command("run", example.folder / "as_it_is.toml", "--out", tmp_path, "--workers", 1, "--device", "cpu")
    assert done.returncode == 0, done.stderr
    records = read_documents(tmp_path)
    assert [record["status"] for record in records] == ["done"] * 15
    for steps, label in ((0, "Wanda"), (0, "Wanda, batch norm recalibrated"), (36, "Wanda, then fine_tuning")):
        found = [record for record in records if record["label"] == label]
        assert [sum(event["steps"] for event in record["events"]) for record in found] == [steps] * 2
        assert all(record["events"][0]["kind"] == "score" for record in found)
    report = (tmp_path / "report" / "report.md").read_text()
    assert "Here no method trains, so there are no tickets to judge." in report and "training FLOPs" in report
    for name in ("leaderboard", "table", "status"):
        assert command(name, tmp_path).returncode == 0
    written = [*tmp_path.glob("leaderboard.*"), *(tmp_path / "report").glob("report.*")]
    assert len(written) == 7
    for path in written:
        assert not re.search(r"[>|,&\s(]([+-]?inf|nan|∞)[\s×<|,&)]", path.read_text(), re.I), path


def test_lines_for_a_notebook_run_by_themselves():
    # tests/export and tests/interactive run the others
    other = [block for block in blocks("python") if not block.id.startswith(("export.md", "python.md"))]
    scripts = [block.values[0] for block in other if "@hookimpl" not in block.values[0]]
    assert any("timm.create_model" in script for script in scripts)
    for script in scripts:
        fresh(exec, script, {})


def test_every_field_of_a_data_set_a_batch_and_a_recipe_is_documented():
    pages = {name: (ROOT / "docs" / f"{name}.md").read_text() for name in ("data", "plugins", "recipes")}
    for page, kind in (("data", Dataset), ("data", Listing), ("recipes", Recipe)):
        names = [field.name for field in dataclasses.fields(kind)]
        assert [name for name in names if not re.search(rf"`{name}[`(]", pages[page])] == []
    assert [name for name in Batch._fields if f"`{name}`" not in pages["plugins"]] == []


def test_every_column_of_leaderboards_is_documented():
    page = (ROOT / "docs" / "results.md").read_text()
    named = []
    for row in re.findall(r"^\| (`.*?) \|", page.partition("\n## Columns\n")[2], re.MULTILINE):
        first, *names = re.findall("`(.+?)`", row)
        named += [first, *(first + name if name.startswith("_") else name for name in names)]
    assert sorted(named) == sorted(NUMBERS)
    overlaps = page.partition("\n## Overlap of masks\n")[2].partition("\n## ")[0]
    assert set(OVERLAPS) <= set(re.findall("`([a-z_]+)`", overlaps + page.partition("\n## Columns\n")[2]))


def test_every_hook_is_documented_and_used_by_a_bundled_plugin():
    page = (ROOT / "docs" / "plugins.md").read_text()
    hooks = [name for name in vars(hookspecs) if name.startswith("register_")]
    assert hooks == [f"register_{kind}" for kind in KINDS]
    plugins = load_plugins()
    for kind in KINDS:
        assert f"`register_{kind}`" in page
        assert list(getattr(plugins, kind))


def test_every_name_of_a_session_is_documented():
    page = (ROOT / "docs" / "plugins.md").read_text()
    parts = {"account", "clock", "course", "order", "topology"}
    for_the_harness = {"compute", "elements", "finish", "notes", "optimizer", "restore", "seed"}
    names = {name for name in dir(make_session()) if not name.startswith("_")} - parts - for_the_harness
    assert [name for name in names if not re.search(rf"`{name}[`(]", page)] == []


def test_the_public_names_are_pinned():
    assert sorted(lth_bench.__all__) == sorted(PUBLIC)
    assert all(getattr(lth_bench, name) is not None for name in lth_bench.__all__)
    with pytest.raises(AttributeError, match="Pruner"):
        _ = lth_bench.Pruner


def test_every_method_is_documented():
    page, plugins = (ROOT / "docs" / "methods.md").read_text(), load_plugins()
    assert [name for name in (*plugins.pruners, *plugins.controls) if f"`{name}`" not in page] == []


def test_the_numbers_of_methods_in_the_readme_are_those_of_the_table():
    page, readme = (ROOT / "docs" / "methods.md").read_text(), (ROOT / "README.md").read_text()
    lines = re.findall(r"^\| `.*\|$", page.partition("| control |")[0], re.MULTILINE)
    rows = [line.split("|")[1:-1] for line in lines]
    methods = [name for row in rows for name in re.findall(r"`(\w+)`", row[0])]
    equal = [name for row in rows if row[3].strip() for name in re.findall(r"`(\w+)`", row[0])]
    assert set(methods) == set(load_plugins().pruners)
    methods.remove("dense")
    assert f"For {len(equal)} of the [{len(methods)} methods](docs/methods.md)" in readme
    assert f"all {len(methods)} have a case computed by hand" in readme


ALIASES = {"ITOP": "In-Time-Over-Parameterization", "SET": "sparse-evolutionary-artificial-neural-networks"}


def test_the_codes_that_methods_equal_have_golden_cases():
    page = (ROOT / "docs" / "methods.md").read_text().partition("| control |")[0]
    lines = re.findall(r"^\| `.*\|$", page, re.MULTILINE)
    names = {
        name.strip()
        for line in lines
        for part in line.split("|")[4].split(";")
        for name in part.partition(":")[2].split(",")
    }
    cases = [json.loads(path.read_text())["results"] for path in (ROOT / "tests" / "golden").glob("*.json")]
    repositories = {str(facts["repo"]) for results in cases for facts in results.values() if "repo" in facts}
    known = repositories | {repository.partition("/")[2] for repository in repositories}
    assert {name for name in names - {""} if ALIASES.get(name, name) not in known} == set()


def test_the_numbers_of_experiments_and_families_in_the_readme():
    readme, plugins = (ROOT / "README.md").read_text(), load_plugins()
    suite = read_suite("quickstart", plugins)[1]
    assert f"The quickstart runs {len(plan(suite, plugins))} experiments" in readme
    assert f"compares {len(suite.pruners)} methods" in readme
    rows = re.findall(r"^\| `?\w.*\|$", (ROOT / "docs" / "families.md").read_text(), re.MULTILINE)
    assert f"[{len(rows) - 1} families of models](docs/families.md)" in readme


def accuracy(suite, method, model, target):
    """The mean accuracy of a published row."""
    with (ROOT / "leaderboards" / suite / "leaderboard.csv").open() as file:
        rows = [row for row in csv.DictReader(file) if (row["method"], row["target"]) == (method, target)]
    (row,) = (row for row in rows if row["model_choice"].startswith(model))
    return float(row["accuracy"])


@pytest.mark.parametrize(
    ("method", "model", "target", "words"),
    [
        ("magnitude at initialisation", "lenet_5", "0.995", "and reaches {:.0f} % accuracy"),
        ("SynFlow, revision 2", "lenet_5", "0.995", "reaches {:.0f} %."),
        ("RigL", "lenet_5", "0.98", "({:.1f} and"),
        ("static, ERK", "lenet_5", "0.98", "and {:.1f} %;"),
        ("iterative SNIP, revision 2", "lenet_300_100", "0.98", "Their accuracies are {:.0f} and"),
        ("FORCE, revision 2", "lenet_300_100", "0.98", "and {:.0f} %."),
        ("one-shot magnitude, transfer (found with adam)", "lenet_5", "0.98", "found with Adam reaches {:.0f} %"),
        ("one-shot magnitude", "lenet_5", "0.98", "one found with SGD {:.0f} %"),
        ("powerpropagation", "lenet_300_100", "0.9", "falls to {:.0f} % at 90 % on LeNet-300-100"),
        ("large final, same sign, untrained", "lenet_300_100", "0.9", "same sign reach {:.0f} % at 90 %"),
        ("supermask, untrained", "lenet_300_100", "0.9", "learned masks {:.0f} %."),
    ],
)
def test_accuracies_that_the_page_of_methods_quotes_are_those_of_the_leaderboard(method, model, target, words):
    page = " ".join((ROOT / "docs" / "methods.md").read_text().split())
    assert words.format(accuracy("methods-mnist", method, model, target)) in page


@pytest.mark.parametrize(
    ("method", "model", "target", "words"),
    [
        ("SparseGPT", "lenet_300_100", "0.9", "SparseGPT reaches {:.1f} %"),
        ("Wanda", "lenet_300_100", "0.9", "Wanda {:.1f} %, magnitude"),
        ("magnitude, uniform", "lenet_300_100", "0.9", "magnitude {:.1f} %. How"),
        ("magnitude", "lenet_300_100", "0.9", "global magnitude reaches {:.1f} %"),
        ("WoodFisher", "lenet_300_100", "0.9", "WoodFisher {:.1f} %,"),
        ("magnitude, ERK", "lenet_300_100", "0.9", "ERK {:.1f} %,"),
        ("LAMP, one-shot", "lenet_300_100", "0.9", "LAMP {:.1f} %. WoodFisher"),
        ("magnitude, then one_epoch", "lenet_300_100", "0.9", "ends at {:.1f} % on LeNet-300-100"),
        ("magnitude, then one_epoch", "lenet_5", "0.9", "at {:.1f} % instead of"),
        ("magnitude", "lenet_5", "0.9", "instead of {:.1f} % on LeNet-5"),
        ("LAMP, one-shot, then one_epoch", "lenet_5", "0.9", "LAMP at {:.1f} % instead of"),
        ("LAMP, one-shot", "lenet_5", "0.9", "LAMP at 98.8 % instead of {:.1f} %"),
        ("magnitude, batch norm recalibrated", "lenet_5", "0.9", "bring magnitude to {:.1f} %"),
        ("LAMP, one-shot, batch norm recalibrated", "lenet_5", "0.9", "and LAMP to {:.1f} %"),
    ],
)
def test_accuracies_that_the_page_of_methods_quotes_of_trained_networks(method, model, target, words):
    page = " ".join((ROOT / "docs" / "methods.md").read_text().split())
    assert words.format(accuracy("pretrained-mnist", method, model, target)) in page


@pytest.mark.parametrize(
    ("methods", "target", "words"),
    [
        (["dense"], "0", "as it is reaches {:.1f} % on these"),
        (
            ["dense, batch norm recalibrated", "dense, then one_epoch"],
            "0",
            "{:.1f} % with new statistics of batch norm, {:.1f} % after",
        ),
        (["magnitude", "magnitude, batch norm recalibrated"], "0.7", "at 70 % goes from {:.1f} to {:.1f} %"),
        (["SparseGPT, then one_epoch", "Wanda, then one_epoch"], "0.9", "SparseGPT ({:.1f} %) and Wanda ({:.1f} %)"),
        (["magnitude, uniform, then one_epoch"], "0.9", "with the same share ({:.1f} %)"),
        (
            ["magnitude, then one_epoch", "WoodFisher, then one_epoch"],
            "0.9",
            "magnitude ({:.1f} %) and WoodFisher ({:.1f} %)",
        ),
    ],
)
def test_accuracies_that_the_page_of_methods_quotes_of_the_resnet(methods, target, words):
    page = " ".join((ROOT / "docs" / "methods.md").read_text().split())
    found = [accuracy("pretrained-cifar10-jpeg", method, "cifar_resnet20", target) for method in methods]
    assert words.format(*found) in page


def test_costs_of_a_resnet_that_the_page_of_methods_quotes():
    page = " ".join((ROOT / "docs" / "methods.md").read_text().split())
    read = partial(accuracy, "pretrained-cifar10-jpeg", model="cifar_resnet20")
    dense = read("dense, then one_epoch", target="0")
    costs = [dense - read("magnitude, then one_epoch", target=target) for target in ("0.5", "0.7", "0.9")]
    pattern = dense - read("magnitude, 2:4, then one_epoch", target="0.5")
    assert f"50 % of weights cost magnitude {costs[0]:.1f} points and the pattern 2:4 {pattern:.1f}; " in page
    assert f"70 % cost {costs[1]:.1f}, and 90 % {costs[2]:.1f}." in page
    records = read_records(BOARDS / "pretrained-cifar10-jpeg")
    minutes = sum(record.timing.seconds for record in records) / 60
    trained = [r.timing.seconds for r in records if r.experiment.after.recipe and not r.timing.steps_looked_up]
    assert f"{len(records)} experiments in {minutes:.0f} minutes of one core" in page
    assert f"{np.median(trained):.0f} seconds at the median" in page


@pytest.mark.parametrize(
    ("model", "words"),
    [
        ("lenet_300_100", "LeNet-300-100 {:.1f} points by magnitude, {:.1f} by Wanda, {:.1f} by SparseGPT"),
        ("lenet_5", "the narrow LeNet-5 {:.1f}, {:.1f} and {:.1f} points"),
    ],
)
def test_costs_of_a_pattern_that_the_page_of_methods_quotes(model, words):
    page = " ".join((ROOT / "docs" / "methods.md").read_text().split())
    dense = accuracy("pretrained-mnist", "dense", model, "0")
    names = [f"{name}, 2:4" for name in ("magnitude", "Wanda", "SparseGPT")]
    costs = [dense - accuracy("pretrained-mnist", name, model, "0.5") for name in names]
    trained = [dense - accuracy("pretrained-mnist", f"{name}, then one_epoch", model, "0.5") for name in names]
    assert words.format(*costs) in page
    assert max(trained) < {"lenet_300_100": 0.25, "lenet_5": 0.05}[model]


BOARDS = ROOT / "leaderboards"


@pytest.mark.parametrize(
    ("suite", "page", "words"),
    [
        ("methods-mnist", "docs/methods.md", "{count} experiments in {minutes} minutes on two cores"),
        ("methods-mnist", "plugins/suites/methods-mnist.toml", "{minutes} minutes on two cores"),
        ("pretrained-mnist", "docs/methods.md", "{count} experiments in {minutes} minutes on two cores"),
        ("lenet-mnist-lite", "plugins/suites/lenet-mnist-lite.toml", "in {minutes} minutes on two cores"),
        ("second-look", "plugins/suites/second-look.toml", "{minutes} minutes on two cores"),
        ("patterns-mnist", "plugins/suites/patterns-mnist.toml", "{minutes} minutes on two cores"),
        ("masks-only", "plugins/suites/masks-only.toml", "{minutes} minutes on two cores"),
        ("resnet50-costs", "plugins/suites/resnet50-costs.toml", "{minutes} minutes on two cores"),
        (
            "quickstart",
            "README.md",
            "runs {count} experiments on scikit-learn's digits in about two minutes on two cores",
        ),
    ],
)
def test_the_time_that_a_suite_takes_is_that_of_its_records(suite, page, words):
    records = read_records(BOARDS / suite)
    minutes = round(sum(record.timing.seconds for record in records) / 120)
    assert suite != "quickstart" or minutes == 2
    assert words.format(count=len(records), minutes=minutes) in (ROOT / page).read_text()


@pytest.fixture(scope="module")
def methods():
    """The records of all methods on MNIST, and the page about them in one line."""
    page = " ".join((ROOT / "docs" / "methods.md").read_text().split())
    return read_records(BOARDS / "methods-mnist"), page


def among(records, label, model, sparsity):
    """The records of a row by seed."""
    found = [r for r in records if r.label == label and r.experiment.model.name == model]
    return sorted((r for r in found if r.experiment.sparsity == sparsity), key=lambda r: r.experiment.seed)


def kept(records, layer, count="kept"):
    """The lowest and the highest count of weights that records have for a layer."""
    counts = [getattr(record.sparsity.layers[layer], count) for record in records]
    return min(counts), max(counts)


def test_counts_of_weights_that_the_page_of_methods_quotes_are_those_of_the_records(methods):
    records, page = methods
    rows = partial(among, records)
    least, most = kept(rows("magnitude at initialisation", "lenet_5", 0.995), "conv2.weight")
    assert (least, most) == (1, 5) and "leaves one to five weights in the second convolution of LeNet-5" in page
    least, most = kept(rows("SynFlow, revision 2", "lenet_5", 0.995), "conv2.weight")
    assert f"SynFlow leaves {least} to {most} weights there" in page
    for method, words in (("iterative SNIP", "leaves {} to {} weights to the ten"), ("FORCE", "leaves {} to {}.")):
        least, most = kept(rows(f"{method}, revision 2", "lenet_300_100", 0.98), "fc3.weight")
        assert words.format(least, most) in page
    (size, _), (least, most) = (kept(rows("RigL", "lenet_5", 0.98), "fc2.weight", of) for of in ("kept", "effective"))
    assert f"{least} to {most} of the {size} weights of the output layer" in page
    others = [*rows("static, ERK", "lenet_5", 0.98), *rows("SET", "lenet_5", 0.98)]
    least, most = kept(others, "fc2.weight", "effective")
    assert f"with a static mask, or SET, {least} to {most} do" in page
    emptied = {r.label for r in records if any(not layer.kept for layer in r.sparsity.layers.values())}
    assert emptied == {"AC/DC", "DST", "SNIP, invert"} and "only AC/DC, DST and inverted SNIP empty a layer" in page


def test_the_interval_that_the_page_of_methods_quotes_is_that_of_the_records(methods):
    records, page = methods
    rigl, static = (
        np.array([100 * r.test.last.accuracy for r in among(records, label, "lenet_5", 0.98)])
        for label in ("RigL", "static, ERK")
    )
    interval = mean_interval((rigl - static)[None])
    assert f"interval of the difference, {interval.lower[0]:.1f} to {interval.upper[0]:.1f}, contains zero" in page


def test_sparsities_that_methods_reach_by_themselves_are_those_of_the_records(methods):
    records, page = methods
    notes = {label: [] for label in ("variational dropout", "L0", "DST", "supermask, untrained")}
    for record in records:
        if record.label in notes and (record.label != "supermask, untrained" or record.experiment.sparsity == 0.98):
            notes[record.label].append((record.experiment.model.name, 100 * record.notes["native_sparsity"]))
    drifted = [share for model, share in notes.pop("supermask, untrained") if model == "lenet_5"]
    assert f"supermasks drift from 98 to {np.mean(drifted):.0f} %" in page
    shares = [share for reached in notes.values() for _, share in reached]
    assert f"`notes.native_sparsity`, here {min(shares):.0f} to {max(shares):.0f} %" in page


def test_the_costs_of_low_rank_have_those_of_its_penalty(methods):
    records, _ = methods
    rows = [record for record in records if record.label == "low rank"]
    assert rows and all(any(event.kind == "extra" for event in record.events) for record in rows)


def test_scripts_that_the_readme_names_for_its_speeds_are_there():
    speed = (ROOT / "README.md").read_text().partition("## Speed")[2].partition("\n## ")[0]
    scripts = re.findall(r"`(\w+\.py)`", speed)
    assert len(scripts) > 5 and all((ROOT / "benchmarks" / name).exists() for name in scripts)


def judged_on(suite):
    """The claims of a published board."""
    board = load(BOARDS / suite)
    return judgements(board, analyses(board))


STATEMENTS = [
    ("lenet-mnist-lite", "The weights of winning tickets move more", "in {left:.0%} of pairs"),
    (
        "lenet-mnist-lite",
        "The weights of one-shot tickets move more",
        "has {left:.1%}; of these, the choice of large weights alone makes {right:.1%}",
    ),
    (
        "lenet-mnist-lite",
        "Tickets reach a low loss earlier",
        "loss after {left:,.0f} steps, the dense network after {right:,.0f}: {verdict}",
    ),
    ("lenet-mnist-lite", "Masks on new weights reach a low loss later", "masks on new weights take {left:,.0f} steps"),
    ("lenet-mnist-lite", "LeNet is stable at step 0", "LeNet-300-100 on MNIST has {left:.2f} at step 0"),
    ("lenet-mnist-lite", "Weights of tickets keep the signs", "in {left:.0%} of cases, on new weights in {right:.0%}"),
    (
        "transfer-digits",
        "A ticket of digits works on the classes 5",
        "are {left:.1f} points above random masks on the classes 5 to 9",
    ),
    ("transfer-digits", "A ticket of digits works on the classes 0", "and {left:.1f} on 0 to 4"),
    ("transfer-digits", "A ticket is better than a random mask", "{left:.1f} where they were found: {verdict}"),
    ("transfer-digits", "A ticket of digits works on digits with", "On permuted pixels, {left:.1f}: {verdict}"),
    ("quickstart", "A residual network is unstable", "a barrier of {left:.2f} points at step 0"),
    ("quickstart", "A residual network is stable once", "and {left:.2f} from 10% on"),
    ("moons", "new weights, after one round", "after one round {left:.2f} and {right:.2f}"),
    (
        "moons",
        "new weights, after five rounds",
        "{left:.2f} radii from the dense polygon, {right:.2f} on new weights: {verdict}",
    ),
    ("moons", "new weights after five rounds", "size and place aside, {left:.2f} and {right:.2f}: {verdict}"),
]


@pytest.mark.parametrize(("suite", "claim", "words"), STATEMENTS)
def test_what_the_page_of_analyses_says_was_found_are_judged_claims(suite, claim, words):
    page = " ".join((ROOT / "docs" / "analyses.md").read_text().split()).replace(" %", "%")
    (one,) = (found for found in judged_on(suite) if claim in found.claim.text)
    said = words.format(left=one.left, right=one.right, verdict=one.verdict)
    assert said in page


def test_published_claims_are_those_that_the_boards_judge():
    boards = re.search(r"^SUITES := (.*)$", (ROOT / "Makefile").read_text(), re.MULTILINE)[1].split()
    judged = [one for suite in boards for one in judged_on(suite)]
    assert (ROOT / "reports" / "claims.md").read_text() == formatted(judged, "md")
    counts = Counter(one.verdict for one in judged)
    words = f"{counts['shown']} are shown, {counts['contradicted']} contradicted and {counts['not told']} not told"
    readme = (ROOT / "README.md").read_text()
    assert f"Of the {len(judged)} that" in readme and words in readme
    ((name, shown),) = re.findall(r"<!-- claims: (\S+) -->\n(.*?)<!-- end -->", readme, re.S)
    assert shown.strip() == formatted(judged_on(name), "md").strip()
