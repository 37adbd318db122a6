"""The environment of a record: versions, machine and plugins, and the memory that was used."""

from __future__ import annotations

import dataclasses
import os
import platform
import resource
from functools import cache
from importlib.metadata import distributions, version
from pathlib import Path

import torch
from msgspec import UNSET

from lth_bench.hashing import sha256
from lth_bench.machine import processor_kind
from lth_bench.running.code import named
from lth_bench.running.context import Context
from lth_bench.storage.files import publish_new
from lth_bench.storage.record import Environment, Identity, RecordedPlugin
from lth_bench.storage.records import packages_path
from lth_bench.storage.source_hash import file_hash, package_hash


def peak_memory(context: Context) -> int:
    """The peak memory of training in bytes: of the GPU if there is one, else of this process."""
    if context.device.type == "cuda":
        return torch.cuda.max_memory_allocated(context.device)
    most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return most if platform.system() == "Darwin" else 1024 * most


def environment(identity: Identity, directory: Path, context: Context) -> Environment:
    """The versions and the machine, and the plugins that an experiment, or an analysis of one, uses.

    Writes the list of installed packages into the run directory unless it is there. Raises DiskFault.
    """
    publish_new(packages_path(directory, sha256(installed())), installed())
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
        plugins=_plugins(identity, context),
        code=context.code.of(identity) or UNSET,
        processor=processor_kind(),
        source=package_hash(),
        packages=sha256(installed()),
    )


@cache
def installed() -> bytes:
    """The installed packages, a line for each such as "torch==2.14.1", sorted."""
    found = {f"{package.name}=={package.version}" for package in distributions()}
    return "".join(f"{line}\n" for line in sorted(found, key=str.casefold)).encode()


def _plugins(identity: Identity, context: Context) -> dict[str, RecordedPlugin]:
    """The plugins that registered what an experiment names, by kind."""
    registries = {kind: (context.plugins.of_one(kind), choice.name) for kind, choice in named(identity).items()}
    return {
        kind: RecordedPlugin(**dataclasses.asdict(registry.providers[name]), sha256=file_hash(registry[name]))
        for kind, (registry, name) in registries.items()
        if name in registry.items
    }
