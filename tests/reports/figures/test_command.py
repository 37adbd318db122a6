"""The command `lth-bench figure`, on a committed board."""

from __future__ import annotations

import re

import pytest
from typer.testing import CliRunner

from lth_bench.cli.main import app
from support.places import ROOT

BOARD = str(ROOT / "leaderboards" / "lenet-mnist-lite")


def figure(*arguments):
    return CliRunner().invoke(app, ["figure", *arguments])


@pytest.mark.parametrize(("width", "points"), [("8cm", 226.77), ("487pt", 485.18), ("3.25in", 234.0)])
def test_a_figure_has_the_width_that_is_asked_for(tmp_path, width, points):
    path = tmp_path / "figure.pdf"
    done = figure(BOARD, "--width", width, "--no-title", "--out", str(path))
    assert done.exit_code == 0 and "test accuracy at the last step" in done.stdout
    assert float(re.search(rb"/MediaBox \[ 0 0 ([\d.]+) ", path.read_bytes())[1]) == pytest.approx(points, abs=0.01)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--width", "3"], "--width is a number with a unit (in, cm, mm, pt), such as 3.25in or 487pt, not '3'"),
        (["--width", "1in"], "--width is 2.33in to 20in where text has 7 points, not 1in"),
        (["--methods", "nobody"], "--methods: no method 'nobody'"),
        (["--kind", "pies"], "'pies' is not one of 'accuracy'"),
        (["--out", "figure.jpg"], "--out figure.jpg does not end in one of .pdf, .svg, .png"),
        (["--kind", "pareto-inference"], "that needs methods whose FLOPs of inference differ at one sparsity"),
    ],
)
def test_what_cannot_be_drawn_is_refused_with_a_sentence(arguments, words):
    done = figure(BOARD, *arguments)
    assert done.exit_code == 2
    assert words in " ".join(done.stderr.replace("│", " ").split())
