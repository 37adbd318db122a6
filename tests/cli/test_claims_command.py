"""The command that judges claims, as a user would call it."""

from __future__ import annotations

import json
import shutil

import pytest
from typer.testing import CliRunner

from lth_bench.cli.main import app
from support.places import ROOT
from support.records import planned, recorded

BOARDS = ROOT / "leaderboards"
CLAIM = '[[claims]]\ntext = "so"\nleft = {{ method = "{}" }}\nrelation = ">"\nright = {{ method = "dense" }}\n'


def claims(*arguments):
    return CliRunner().invoke(app, ["claims", *map(str, arguments)])


@pytest.fixture
def made(tmp_path):
    """A run directory whose tickets are worse than its dense networks, and the copy of its suite."""
    values = [("dense", 0.0, (0.97, 0.98, 0.99)), ("imp", 0.9, (0.95, 0.96, 0.969))]
    recorded(tmp_path, [(planned(name, at, seed), each) for name, at, row in values for seed, each in enumerate(row)])
    copy = tmp_path / "suites" / "made.toml"
    copy.parent.mkdir()
    copy.write_text(CLAIM.format("imp"))
    return tmp_path, copy


def test_a_claim_that_is_contradicted_fails_only_a_strict_call(made):
    directory, _ = made
    plain, strict = claims(directory), claims(directory, "--strict")
    assert (plain.exit_code, strict.exit_code) == (0, 1)
    assert "contradicted  so\n" in plain.output and "0 shown, 1 contradicted, 0 not told" in plain.output
    assert json.loads(claims(directory, "--format", "json").output)[0]["verdict"] == "contradicted"


def test_claims_of_several_boards_are_judged_board_by_board():
    result = claims(BOARDS / "moons", BOARDS / "transfer-digits", "--format", "csv")
    assert result.exit_code == 0
    assert {line.split(",")[-2] for line in result.output.splitlines()[1:]} == {"shown", "not told"}


def test_claims_of_another_suite_are_checked_by_its_rows(made, tmp_path):
    result = claims(BOARDS / "lenet-mnist-lite", "--suite", "lenet-mnist-lite")
    assert result.exit_code == 0 and "LeNet is stable at step 0" in result.output
    result = claims(made[0], "--suite", "no-such-suite")
    assert result.exit_code == 2 and "no-such-suite" in result.output


def test_without_claims_and_with_broken_ones_a_sentence_says_so(made):
    directory, copy = made
    copy.write_text(CLAIM.format("imp").replace(">", "more than"))
    broken = claims(directory)
    assert broken.exit_code == 1
    assert "claims of the suite made cannot be used" in " ".join(broken.output.split())
    shutil.rmtree(copy.parent)
    missing = claims(directory)
    assert missing.exit_code == 2
    assert "no claims in the suites of these runs; a suite states them as [[claims]]" in " ".join(
        missing.output.split()
    )
