"""The built-in suite that a newcomer runs first."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pytest

from support.documents import read_documents
from support.places import COMMAND


@pytest.mark.timeout(900)
@pytest.mark.parametrize(
    ("only", "seeds", "models"),
    [
        ("seed == 0 and model == 'lenet_300_100'", 1, {"lenet_300_100"}),
        pytest.param("seed < 3", 3, {"lenet_300_100", "cifar_resnet20"}, marks=pytest.mark.slow),
    ],
)
def test_the_quickstart_fills_its_leaderboard(tmp_path, only, seeds, models):
    command = [COMMAND, "run", "quickstart", "--out", tmp_path, "--only", only]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    records = read_documents(tmp_path)
    experiments = [record["experiment"] for record in records]
    assert {record["status"] for record in records} == {"done"}
    assert len({e["pruner"]["name"] for e in experiments}) >= 5
    assert len({e["sparsity"] for e in experiments} - {0.0}) >= 4
    assert {e["seed"] for e in experiments} == set(range(seeds))
    assert {e["model"]["name"] for e in experiments} == models
    board = (tmp_path / "leaderboard.md").read_text()
    assert ("1 of 3 seeds; 2 missing" in board) == (seeds < 3), "the rest of the suite is planned"
    for record in records:
        sparsity = record["sparsity"]
        assert sparsity["mask"] == round((1 - sparsity["asked"]) * sparsity["prunable"])
    for path in re.findall(r"^  (/\S+)$", done.stdout, re.M):
        assert Path(path).stat().st_size > 0
    accuracies = {}
    for record in records:
        e = record["experiment"]
        cell = accuracies.setdefault((e["model"]["name"], record["label"], e["sparsity"]), [])
        cell.append(100 * record["test"]["last"]["accuracy"])
    for values in accuracies.values():
        assert f"{sum(values) / len(values):.2f}" in done.stdout
