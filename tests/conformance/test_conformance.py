"""The contract of pruners: that every rule can be broken, and is then told; and the scaffold that keeps to it."""

from __future__ import annotations

import dataclasses
import os
import re
import subprocess
import sys
from typing import Annotated, Literal

import pytest
import torch
from typer.testing import CliRunner

from lth_bench.cli import plugin as plugin_command
from lth_bench.cli.scaffold import ScaffoldError, class_name, write_plugin
from lth_bench.conformance import contract
from lth_bench.conformance.examination import RULES, check, check_variants, glance
from lth_bench.conformance.variants import variants
from lth_bench.experiments.plugins import Plugins, Provider, load_plugins
from support import broken_pruners
from support.places import ROOT

PLUGINS = Plugins()
broken_pruners.register_pruners(lambda name, kind: PLUGINS.pruners.add(name, kind, Provider("", "", "tests", "0")))
EVERYWHERE = ("networks", "pattern", "stored", "other seed")  # rules that one network and one seed do not show


def failures(findings):
    return {f.rule: f"{f.words}: {f.reason}" for f in findings if f.state == "fails"}


@pytest.mark.parametrize("name", broken_pruners.BROKEN)
def test_a_broken_pruner_is_told_what_is_wrong(name):
    rule, reason = broken_pruners.BROKEN[name]
    look = check if rule in EVERYWHERE or "residual" in reason else glance
    found = failures(look(PLUGINS, name, {}))
    assert rule in found, found
    assert re.search(reason, found[rule]), found[rule]


def test_every_rule_is_broken_by_some_pruner():
    assert {rule for rule, _ in broken_pruners.BROKEN.values()} == set(RULES) - {"variant"}


@pytest.mark.parametrize("name", ["honest", "distiller", "nothing", "choosy", "frugal", "redrawer", "varied"])
def test_a_pruner_that_keeps_to_the_contract_passes(name):
    findings = list(check(PLUGINS, name, {}))
    assert not failures(findings)
    refused = [finding.reason for finding in findings if finding.state == "does not apply"]
    unsuitable = {
        "choosy": ["it needs batch norm; take a network that has some"] * 2,
        "nothing": ["nothing is pruned here; ask for sparsity 0"],
        "varied": [
            "a method that replaces masks in training does not support patterns: what it keeps would not hold 2:4; "
            "leave 2:4 out for it"
        ],
    }
    assert refused == unsuitable.get(name, [])


def test_what_a_pruner_prints_stays_inside_the_check(capfd):
    assert not failures(glance(PLUGINS, "talkative", {}))
    assert capfd.readouterr() == ("", "")


def test_pruning_while_scoring_is_the_only_fault_that_is_told_of_it():
    found = failures(glance(PLUGINS, "hasty", {}))
    assert list(found) == ["networks"]
    assert "prune() inside scoring()" in found["networks"]


def test_a_pruner_of_one_sparsity_is_checked_at_that():
    for look in (check, glance):
        assert not failures(look(PLUGINS, "particular", {}, 0.75))
    assert "it can be used on none of these" in failures(check(PLUGINS, "particular", {}))["networks"]
    with pytest.raises(ValueError, match=r"a sparsity lies in \[0, 1\), not 1\.5"):
        check(PLUGINS, "honest", {}, 1.5)


def test_variants_that_do_not_apply_are_told_and_pass():
    findings = {finding.words: finding for finding in check_variants(PLUGINS, "choosy", {})}
    assert {words: finding.state for words, finding in findings.items()} == {
        "the same with layered=True": "does not apply",
        "the same with scope=all": "holds",
        "the same with scope=some": "does not apply",
    }
    assert "layered goes with a scope" in findings["the same with layered=True"].reason
    assert list(check_variants(PLUGINS, "choosy", {"layered": False, "scope": "all"})) == []


def test_variants_are_found_in_the_types_of_parameters():
    @dataclasses.dataclass(frozen=True)
    class Many:
        number: int = 3
        way: Literal["a", "b", "c"] = "b"
        switch: Annotated[bool, "documented"] = True
        maybe: Literal["x"] | None = None
        free: float | None = 0.5

    assert variants(Many) == [{}, {"way": "a"}, {"way": "c"}, {"switch": False}, {"maybe": "x"}]


def test_the_check_leaves_no_trace_itself():
    torch.manual_seed(5)
    before = torch.get_rng_state(), torch.get_num_threads(), torch.is_grad_enabled()
    list(glance(PLUGINS, "honest", {}))
    assert torch.equal(before[0], torch.get_rng_state())
    assert before[1:] == (torch.get_num_threads(), torch.is_grad_enabled())


def test_the_contract_is_a_test_for_each_variant():
    test = contract("snip", "random")
    ids = [parameter.id for parameter in test.pytestmark[0].args[1]]
    assert ids[:3] == ["snip", "snip (batch_statistics=True)", "random"]
    with pytest.raises(LookupError, match="no pruner 'snp'; did you mean 'snip'"):
        contract("snp")


# ---- the commands ----------------------------------------------------------------------------------------------------


def call(*arguments, path=""):
    """`lth-bench plugin …` in a process of its own; `path` is put before the packages that are found."""
    script = "from lth_bench.cli.plugin import app; app()"
    environment = {**os.environ, "PYTHONPATH": str(path), "COLUMNS": "200"}
    command = [sys.executable, "-c", script, *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, timeout=250, env=environment)


def test_check_prints_what_holds_and_what_does_not(third_party, monkeypatch):
    monkeypatch.setenv("COLUMNS", "200")
    monkeypatch.syspath_prepend(third_party)
    done = CliRunner().invoke(plugin_command.app, ["check", "leaker"])
    assert done.exit_code == 1, done.output
    lines = [" ".join(line.split()) for line in done.stdout.splitlines()]
    assert "parameters of a wrong type are refused holds" in lines
    assert re.search(r"\nwhat is pruned stays zero.* fails \d+ pruned weights of 'conv1.weight' are", "\n".join(lines))
    assert re.fullmatch(r"leaker: \d+ of 16 rules do not hold", lines[-1])
    assert "could not be loaded" in done.stderr, "other plugins are broken, and that is told"


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["snp"], "no pruner 'snp'; did you mean 'snip'"),
        (["snip", "--sparsity", "1"], "a sparsity lies in [0, 1), not 1.0"),
        (["snip", "--with", "examples=0"], "examples: Input should be greater than or equal to 1"),
        (["snip", "--with", "example=5"], "example: no such parameter of 'snip'"),
        (["snip", "--with", "examples"], "--with wants NAME=VALUE, such as rate=0.5, not 'examples'"),
    ],
)
def test_check_refuses_what_it_cannot_use(arguments, words):
    done = CliRunner().invoke(plugin_command.app, ["check", *arguments])
    assert done.exit_code == 2
    assert words in " ".join(done.output.split())


def test_check_prunes_to_the_sparsity_asked_for():
    done = CliRunner().invoke(plugin_command.app, ["check", "random", "--sparsity", "0.99"])
    assert done.exit_code == 0, done.output
    assert "random: everything holds" in done.output


@pytest.fixture(scope="module")
def scaffold(tmp_path_factory):
    """A new plugin as it is written, and the folder into which pip has installed it."""
    source, target = tmp_path_factory.mktemp("new") / "package", tmp_path_factory.mktemp("site")
    done = call("new", "my-2nd.idea", "--out", source)
    assert done.returncode == 0, done.stderr
    command = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--no-build-isolation"]
    copy = tmp_path_factory.mktemp("copy") / "package"
    subprocess.run(["cp", "-r", source, copy], check=True)
    subprocess.run([*command, "--target", target, copy], check=True, capture_output=True)
    return source, target


def test_a_new_plugin_holds_to_the_contract(scaffold, monkeypatch):
    _, target = scaffold
    monkeypatch.setenv("COLUMNS", "200")
    monkeypatch.syspath_prepend(target)
    done = CliRunner().invoke(plugin_command.app, ["check", "my-2nd.idea"])
    assert done.exit_code == 0, done.output
    assert "my-2nd.idea: everything holds" in done.output
    assert re.search("the same with score=gradient +holds", done.output)


def test_the_tests_of_a_new_plugin_pass(scaffold):
    source, target = scaffold
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-W", "error", source]
    done = subprocess.run(
        command, capture_output=True, text=True, env={**os.environ, "PYTHONPATH": str(target)}, cwd=source
    )
    assert done.returncode == 0, done.stdout
    assert "5 passed" in done.stdout


def test_a_new_plugin_is_in_the_style_of_the_house(scaffold):
    source, _ = scaffold
    rules = ROOT / "pyproject.toml"
    for command in (["check"], ["format", "--check"]):
        arguments = [sys.executable, "-m", "ruff", *command, "--config", rules, "--no-cache", source]
        done = subprocess.run(arguments, capture_output=True, text=True)
        assert done.returncode == 0, done.stdout


@pytest.mark.parametrize("name", ["Mine", "my pruner", "-mine", "mine-", "", "../mine", "ä", "x" * 65, "$mine"])
def test_names_that_no_plugin_can_have_are_refused(tmp_path, name):
    with pytest.raises(ScaffoldError, match="a pruner's name matches"):
        write_plugin(name, tmp_path / "new", load_plugins())
    assert not (tmp_path / "new").exists()


def test_new_refuses_names_and_folders_that_are_taken(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "mine").mkdir()
    for arguments, words in (
        (["imp"], "the pruner 'imp' is already registered by lth-bench; choose another name"),
        (["mine"], "mine is already there; give another folder by --out, or remove it"),
        (["Mine"], "unlike 'Mine'"),
    ):
        done = CliRunner().invoke(plugin_command.app, ["new", *arguments])
        assert done.exit_code == 2, done.output
        assert words in " ".join(done.output.split())
    assert [path.name for path in tmp_path.iterdir()] == ["mine"]


@pytest.mark.parametrize(
    ("name", "expected"),
    [("mine", "MinePruner"), ("my-own.one", "MyOwnOnePruner"), ("3d", "Pruner3d"), ("fast_pruner", "FastPruner")],
)
def test_classes_are_named_after_the_pruner(name, expected):
    assert class_name(name) == expected


def test_an_interrupted_check_ends():
    with pytest.raises(KeyboardInterrupt):
        list(glance(PLUGINS, "interrupted", {}))


def test_every_rule_is_documented():
    page = (ROOT / "docs" / "conformance.md").read_text()
    assert [words for rule, words in RULES.items() if rule != "variant" and f"| {words} |" not in page] == []
