"""The examples in the documentation run."""

from __future__ import annotations

import csv
import json
import re
import sys
import tomllib
from types import ModuleType

import pytest

import lth_bench
from lth_bench.experiments import hookspecs
from lth_bench.experiments.choices import instantiate
from lth_bench.experiments.plan import plan, read_suite
from lth_bench.experiments.plugins import KINDS, Provider, Registry, load_plugins
from lth_bench.experiments.suite import Suite
from lth_bench.pruning import masks
from lth_bench.storage.records import read_records
from support.networks import make_session
from support.places import ROOT

PUBLIC = [
    "__version__",
    "Base",
    "Batch",
    "Count",
    "DataError",
    "Dataset",
    "Duration",
    "Listing",
    "Rate",
    "Recipe",
    "Retraining",
    "Session",
    "Share",
    "Ticket",
    "Unsuitable",
    "chance",
    "erk",
    "global_rounds",
    "hookimpl",
    "layer_rates",
    "layerwise",
    "layerwise_rounds",
    "magnitude",
    "retrain",
    "uniform",
]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]


def blocks(language):
    for page in PAGES:
        for number, block in enumerate(re.findall(rf"```{language}\n(.*?)```", page.read_text(), re.S)):
            yield pytest.param(block, id=f"{page.name}-{number}")


def registered(block):
    """The registry of what a module in the documentation registers."""
    registry, module = Registry("pruners"), ModuleType("example")
    sys.modules["example"] = module
    exec(compile(block, "example", "exec"), vars(module))
    module.register_pruners(lambda name, item: registry.add(name, item, Provider("", "", "", "")))
    return registry


@pytest.mark.parametrize("block", list(blocks("python")))
def test_pruners_in_the_documentation_run(block):
    registry = registered(block)
    for name in registry:
        session = make_session(sparsity=0.75)
        instantiate(registry, name, {})(session)
        session.finish()
        assert sum(masks.kept(session.masks).values()) == 78


@pytest.mark.parametrize("block", list(blocks("toml")))
def test_suites_in_the_documentation_are_valid(block):
    content = tomllib.loads(block)
    if "project" in content:
        assert list(content["project"]["entry-points"]) == ["lth_bench"]
        return
    plugins = load_plugins()
    for page in PAGES:
        for example in re.findall(r"```python\n(.*?)```", page.read_text(), re.S):
            plugins.pruners.items.update(registered(example).items)
    assert plan(Suite.model_validate(content), plugins)


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


@pytest.mark.parametrize(
    ("method", "model", "target", "words"),
    [
        ("magnitude at initialisation", "lenet_5", "0.995", "and reaches {:.0f} % accuracy"),
        ("SynFlow", "lenet_5", "0.995", "reaches {:.0f} %."),
        ("RigL", "lenet_5", "0.98", "({:.1f} and"),
        ("static, ERK", "lenet_5", "0.98", "and {:.1f} %;"),
        ("iterative SNIP", "lenet_300_100", "0.98", "Their accuracies are {:.0f} and"),
        ("FORCE", "lenet_300_100", "0.98", "and {:.0f} %."),
        ("one-shot magnitude, transfer (found with adam)", "lenet_5", "0.98", "found with Adam reaches {:.0f} %"),
        ("one-shot magnitude", "lenet_5", "0.98", "one found with SGD {:.0f} %"),
    ],
)
def test_accuracies_that_the_page_of_methods_quotes_are_those_of_the_leaderboard(method, model, target, words):
    page = " ".join((ROOT / "docs" / "methods.md").read_text().split())
    with (ROOT / "leaderboards" / "methods-mnist" / "leaderboard.csv").open() as file:
        rows = [row for row in csv.DictReader(file) if (row["method"], row["target"]) == (method, target)]
    (row,) = (row for row in rows if row["model"].startswith(model))
    assert words.format(float(row["accuracy"])) in page


def test_the_time_that_the_suite_of_all_methods_takes_is_that_of_its_records():
    folder = ROOT / "leaderboards" / "methods-mnist"
    records = read_records(folder)
    minutes = round(sum(record.timing.seconds for record in records) / 120)
    words = f"{minutes} minutes on two cores"
    assert f"{len(records)} experiments in {words}" in (ROOT / "docs" / "methods.md").read_text()
    assert words in (folder / "suites" / "methods-mnist.toml").read_text()
