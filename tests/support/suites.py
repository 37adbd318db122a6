"""Small suites, mostly on digits, run in this process, and the records that come of them."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import torch

from lth_bench.experiments.plan import plan, read_suite
from lth_bench.experiments.plugins import load_plugins
from lth_bench.running.context import Context
from lth_bench.running.preflight import preflight
from lth_bench.running.run import run
from lth_bench.running.status import missing
from lth_bench.running.worker import make_context
from lth_bench.storage.record import identity
from lth_bench.storage.records import write_plan, write_record
from lth_bench.storage.store import Store
from support.documents import read_documents

HEAD = """
title = "faults"
models = [{model}]
datasets = {datasets}
seeds = {seeds}
sparsities = {sparsities}
recipe = "r"

[recipes.r]
duration = "{duration}"
batch_size = 60
learning_rate = {rate}
momentum = 0.9
measure_every = "1ep"
"""


def write_suite(path: Path, pruners: str, **changes) -> Path:
    setup = {"model": '"lenet_300_100"', "datasets": ["digits"]}
    fields = {**setup, "seeds": [0], "sparsities": [0.5, 0.9], "duration": "3ep", "rate": 0.1, **changes}
    path.write_text(HEAD.format(**{**fields, "datasets": json.dumps(fields["datasets"])}) + pruners)
    return path


def pruner(name: str, **fields) -> str:
    lines = [f"{key} = {json.dumps(value)}" for key, value in fields.items() if key != "arguments"]
    if arguments := fields.get("arguments"):
        lines.append("arguments = { " + ", ".join(f"{k} = {json.dumps(v)}" for k, v in arguments.items()) + " }")
    return "\n".join(["", "[[pruners]]", f'name = "{name}"', *lines, ""])


def finish(path: Path, directory: Path) -> None:
    """Runs what is missing of a suite in this process, as the worker processes would."""
    plugins = load_plugins()
    name, content = read_suite(str(path), plugins)
    planned = plan(content, plugins)
    write_plan(directory, name, planned)
    site = make_context(None, "cpu", Store(directory / "store"))
    for entry in missing(directory, [identity(name, item) for item in planned]):
        assert write_record(directory, run(entry, directory, site))


def faults(path: Path, *folders: Path) -> list[str]:
    """What is found wrong with a suite before anything runs, with plugins that are installed in further folders."""
    sys.path[:0] = map(str, folders)
    plugins = load_plugins()
    experiments = [item.experiment for item in plan(read_suite(str(path), plugins)[1], plugins)]
    return preflight(experiments, Context(plugins, None, torch.device("cpu")))


def results(directory: Path) -> dict[str, dict]:
    """The records by key, without what may differ from one try to the next."""
    return {
        record["key"]: {name: value for name, value in record.items() if name not in ("timing", "checksum")}
        for record in read_documents(directory)
    }
