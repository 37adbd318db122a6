"""Everything on this machine that decides the bits of a computation."""

from __future__ import annotations

import platform
from contextlib import suppress
from functools import cache
from pathlib import Path
from typing import Any

import torch

from lth_bench.hashing import canonical

SEMANTICS = 2  # raised when a change of this project changes what the same training computes
X86 = ("model name", "cpu family", "model", "stepping", "flags")
ARM = ("CPU implementer", "CPU architecture", "CPU variant", "CPU part", "CPU revision", "Features")


def numerics(device: torch.device) -> dict[str, Any]:
    """Versions and settings that decide how a computation rounds, as they are now."""
    return {
        **(_cuda_numerics(device) if device.type == "cuda" else _cpu_numerics()),
        "torch": torch.__version__,
        "threads": torch.get_num_threads(),
        "dtype": str(torch.get_default_dtype()),
        "matmul": torch.get_float32_matmul_precision(),
        "deterministic": torch.are_deterministic_algorithms_enabled(),
        "semantics": SEMANTICS,
    }


def _cpu_numerics() -> dict[str, Any]:
    tiny = torch.tensor([1e-40])
    return {
        "device": _processor(),
        "capability": torch.backends.cpu.get_cpu_capability(),
        "onednn": torch.backends.mkldnn.is_available() and torch._C._get_mkldnn_enabled(),
        "flush_denormal": not bool((tiny * 1).count_nonzero()),
    }


def _cuda_numerics(device: torch.device) -> dict[str, Any]:
    return {
        "device": torch.cuda.get_device_name(device),
        "cuda": torch.version.cuda,
        "cudnn": torch.backends.cudnn.version(),
        "options": [
            torch.backends.cudnn.enabled,
            torch.backends.cudnn.benchmark,
            torch.backends.cudnn.deterministic,
            torch.backends.cudnn.allow_tf32,
        ],
    }


@cache
def _processor() -> str:
    """The kind of processor, by which libraries choose their kernels."""
    with suppress(OSError):
        lines = [line.partition(":") for line in Path("/proc/cpuinfo").read_text().splitlines()]
        facts = {name.strip(): value.strip() for name, _, value in lines}
        return canonical([platform.machine(), *(facts.get(name) for name in (*X86, *ARM))])
    return f"{platform.system()} {platform.machine()} {platform.processor()}"
