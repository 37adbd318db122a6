"""Options, fixtures and printed tables of all tests."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pandas as pd
import pytest
import torch

from lth_bench.cli.main import main

FAULTS = """# Faults

What `make faults` found: how often each fault was injected, how often something went wrong, and what was found instead.
"""
FAMILIES = """# Families of timm's models

What `lth-bench doctor` says of small members of timm's families, for 32×32 images in ten classes and timm's own initial
weights: how many weights may be pruned, what is held against the model, the arguments that mend it, the last feature
map with these, and how many layers SNIP empties nevertheless at a sparsity of 90 % – by its scores, not for want of
any. `make families` makes this page.

Squeeze-and-excite layers, the gates of MLPs and the projections to queries and keys have small scores by nature, so
that a global threshold empties them whatever the options; allocate layer by layer there.
"""
CHROMIUM = Path("/usr/bin/chromium")
TABLES = {
    "fault": (FAULTS, ["fault", "tries", "bad", "figure"]),
    "family": (FAMILIES, ["model", "prunable weights", "as timm makes it", "with", "last map", "emptied by SNIP"]),
}


def pytest_addoption(parser):
    parser.addoption("--long", action="store_true", help="run the fault suite in its long form")
    parser.addoption("--faults", metavar="FILE", help="write the table of the fault suite as Markdown")
    parser.addoption("--families", metavar="FILE", help="write the table of timm's families as Markdown")


def pytest_terminal_summary(terminalreporter, config):
    """Prints what tests have noted for a table, and writes it where a page is asked for."""
    reports = [report for kind in ("passed", "failed") for report in terminalreporter.getreports(kind)]
    noted = [(name, json.loads(value)) for report in reports for name, value in report.user_properties]
    for kind, option in (("fault", "--faults"), ("family", "--families")):
        text, columns = TABLES[kind]
        if rows := sorted(row for name, row in noted if name == kind):
            table = pd.DataFrame(rows, columns=columns).to_markdown(index=False, disable_numparse=True)
            terminalreporter.write_line(f"\n{table}")
            if path := config.getoption(option):
                Path(path).write_text(f"{text}\n{table}\n")


@pytest.fixture(autouse=True)
def processor():
    """One thread; and what a worker sets for its own process (`make_context`) does not outlive a test."""
    torch.set_num_threads(1)
    yield
    torch.set_flush_denormal(False)


@pytest.fixture
def command(monkeypatch, capsys):
    """`lth-bench` in this process, which has torch already: its exit status and what it prints."""

    def call(*arguments):
        monkeypatch.setattr(sys, "argv", ["lth-bench", *map(str, arguments)])
        with pytest.raises(SystemExit) as end:
            main()
        return subprocess.CompletedProcess(arguments, end.value.code, *capsys.readouterr())

    return call


@pytest.fixture(scope="session")
def third_party(tmp_path_factory):
    """A folder with the package of tests/third_party installed by pip."""
    target = tmp_path_factory.mktemp("site")
    source = Path(__file__).with_name("third_party")
    command = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--no-build-isolation"]
    copy = tmp_path_factory.mktemp("source") / "package"
    subprocess.run(["cp", "-r", source, copy], check=True)
    subprocess.run([*command, "--target", target, copy], check=True, capture_output=True)
    return target


@pytest.fixture(scope="session")
def browser():
    wanting = [
        what for what, there in (("playwright", find_spec("playwright")), (CHROMIUM, CHROMIUM.exists())) if not there
    ]
    if wanting and os.environ.get("CI"):
        pytest.fail(f"not installed: {wanting}")
    if wanting:
        pytest.skip(f"not installed: {wanting}")
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield browser
        browser.close()
