"""The environment of a record: versions, machine and plugins, and the memory that was used."""

from __future__ import annotations

import dataclasses
import os
import platform
import resource
from importlib.metadata import version

import torch
from msgspec import UNSET

from lth_bench.experiments.plugins import Registry
from lth_bench.running.code import named
from lth_bench.running.context import Context
from lth_bench.storage.record import Environment, Identity, RecordedPlugin
from lth_bench.storage.source_hash import file_hash

CALLERS = ("pruner", "control", "analysis")


def peak_memory(context: Context) -> int:
    """The peak memory of training in bytes: of the GPU if there is one, else of this process."""
    if context.device.type == "cuda":
        return torch.cuda.max_memory_allocated(context.device)
    most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return most if platform.system() == "Darwin" else 1024 * most


def environment(identity: Identity, context: Context) -> Environment:
    """The versions and the machine, and the plugins that an experiment, or an analysis of one, calls."""
    callers = {kind: choice for kind, choice in named(identity).items() if kind in CALLERS}
    registries = {kind: context.plugins.of_one(kind) for kind in callers}
    gpu = torch.cuda.get_device_name(context.device) if context.device.type == "cuda" else None
    return Environment(
        python=platform.python_version(),
        lth_bench=version("lth-bench"),
        torch=version("torch"),
        timm=version("timm"),
        numpy=version("numpy"),
        system=f"{platform.system()} {platform.machine()}",
        device=gpu or context.device.type,
        threads=torch.get_num_threads(),
        processors=os.cpu_count(),
        plugins={kind: _plugin(registries[kind], choice.name) for kind, choice in callers.items()},
        code=context.code.of(identity) or UNSET,
    )


def _plugin(registry: Registry, name: str) -> RecordedPlugin:
    return RecordedPlugin(**dataclasses.asdict(registry.providers[name]), sha256=file_hash(registry[name]))
