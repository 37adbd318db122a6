"""Networks computed by ONNX Runtime."""

from __future__ import annotations

from collections.abc import Callable
from importlib.util import find_spec

import torch
from torch import Tensor, nn

from lth_bench.speed.applicable import NotApplicable

MISSING = "onnxruntime is not installed; pip install 'lth-bench[onnx]'"


def is_installed() -> bool:
    return find_spec("onnxruntime") is not None


def session(network: nn.Module, shape: tuple[int, ...], threads: int) -> Callable[[Tensor], Tensor]:
    """A session of ONNX Runtime with so many threads, on the network's device; raises NotApplicable."""
    if not is_installed():
        raise NotApplicable(MISSING)
    raise NotImplementedError
