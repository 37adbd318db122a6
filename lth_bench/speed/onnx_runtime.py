"""Networks computed by ONNX Runtime."""

from __future__ import annotations

from collections.abc import Callable
from importlib.util import find_spec

import torch
from torch import Tensor, nn

from lth_bench.export.graphs import NEEDED, exported, onnx_file
from lth_bench.speed.applicable import NotApplicable

MISSING = "onnxruntime, or what torch writes ONNX with, is not installed; pip install 'lth-bench[onnx]'"


def is_installed() -> bool:
    """Whether networks can be written as ONNX and computed."""
    return all(find_spec(package) for package in ("onnxruntime", *NEEDED))


def session(network: nn.Module, shape: tuple[int, ...], threads: int) -> Callable[[Tensor], Tensor]:
    """A session of ONNX Runtime with so many threads, on the network's device; raises NotApplicable."""
    if not is_installed():
        raise NotApplicable(MISSING)
    import onnxruntime

    device = next(network.parameters()).device
    provider = "CUDAExecutionProvider" if device.type == "cuda" else "CPUExecutionProvider"
    if provider not in onnxruntime.get_available_providers():
        raise NotApplicable(
            "this onnxruntime has no kernels for CUDA; pip install onnxruntime-gpu, or take --device cpu"
        )
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads, options.inter_op_num_threads = threads, 1
    content = onnx_file(exported(network, torch.zeros(2, *shape, device=device)))
    ready = onnxruntime.InferenceSession(content, options, providers=[provider])
    name = ready.get_inputs()[0].name

    def compute(images: Tensor) -> Tensor:
        return torch.from_numpy(ready.run(None, {name: images.cpu().numpy()})[0]).to(images.device)

    return compute
