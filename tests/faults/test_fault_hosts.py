"""Hosts on one directory whose clocks differ by two hours, and leases that no host would write."""

from __future__ import annotations

import os
import subprocess
import time

import pytest

from lth_bench.experiments.plan import plan, read_suite
from lth_bench.experiments.plugins import load_plugins
from lth_bench.storage.reading import names
from lth_bench.storage.record import identity
from support.places import ROOT
from support.runners import Runners, journal
from support.suites import pruner, results, write_suite

APART = (
    "unshare",
    "--net",
    "--uts",
    "--pid",
    "--fork",
    "--mount-proc",
    "sh",
    "-c",
    'hostname elsewhere; exec "$@"',
    "sh",
)
CLOCKS = ROOT / "tests" / "support" / "other_clock"
PATIENCE = 4.0


def far(ahead):
    """Runners on another host: with a name, processes and a clock of its own."""
    path = os.pathsep.join([str(CLOCKS), os.environ.get("PYTHONPATH", "")])
    return Runners(prefix=APART, environment={"PYTHONPATH": path, "LTH_BENCH_TEST_CLOCK": str(ahead)})


def claims(directory, event="claimed"):
    return [line for line in journal(directory) if line["event"] == event]


@pytest.mark.timeout(300)
@pytest.mark.parametrize("ahead", [7200, pytest.param(-7200, marks=pytest.mark.slow)])
def test_hosts_whose_clocks_differ_respect_the_living_and_take_over_from_the_gone(tmp_path, runners, tally, ahead):
    if subprocess.run([*APART, "true"], capture_output=True).returncode:
        pytest.skip("this machine does not let us make namespaces")
    suite = write_suite(tmp_path / "faults.toml", pruner("imp"), sparsities=[0.9], duration="6000ep")
    directory, bad, elsewhere = tmp_path / "out", [], far(ahead)
    try:
        elsewhere.start(suite, directory, patience=PATIENCE)
        while not claims(directory):
            time.sleep(0.05)
        runners.start(suite, directory, patience=PATIENCE)
        time.sleep(3 * PATIENCE)
        bad += (
            []
            if len(claims(directory)) == 1 and not claims(directory, "published")
            else ["a living host was not respected"]
        )
        gone = time.time()
        for pid in elsewhere.processes():
            elsewhere.kill(pid)
        while len(claims(directory)) < 2:
            time.sleep(0.05)
    finally:
        elsewhere.close()
    first, second = claims(directory)
    took = second["time"] - gone
    bad += [] if abs(first["time"] - gone - ahead) < 600 else ["the far host has our clock"]
    bad += [] if PATIENCE / 2 < took < PATIENCE + 60 else [f"taken over after {took:.1f} s"]
    figure = f"the living kept its lease, the gone one was taken over after {took:.1f} of {PATIENCE:.0f} s of silence"
    tally(f"hosts whose clocks differ by {ahead // 3600:+d} hours", 1, bad, figure)


@pytest.mark.timeout(120)
def test_a_run_among_leases_of_high_generations_takes_no_longer(tmp_path, runners, tally):
    suite, directory = write_suite(tmp_path / "faults.toml", pruner("random"), sparsities=[0.9]), tmp_path / "out"
    name, content = read_suite(str(suite), plugins := load_plugins())
    (key,) = [identity(name, item).key for item in plan(content, plugins)]
    for folder, generation in (("leases", 10**8), ("leases", 10**12), ("outcomes", 10**8)):
        path = directory / folder / f"{key}.{generation}{'.safetensors' * (folder == 'outcomes')}"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("{}")
        os.utime(path, (0, 4102444800))  # in the year 2100
    runner = runners.start(suite, directory)
    output, _ = runner.communicate()
    bad = [output] if runner.returncode or list(results(directory)) != [key] else []
    bad += [name for name in names(directory / "leases") if name != f"{key}.{10**12}"]
    bad += names(directory / "outcomes")
    tally("leases of generation 10^8 and 10^12 in the year 2100", 1, bad, "no loop over them, none is waited for")
