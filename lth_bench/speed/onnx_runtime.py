"""Networks computed by ONNX Runtime."""

from __future__ import annotations

import warnings
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
    import onnxruntime

    device = next(network.parameters()).device
    provider = "CUDAExecutionProvider" if device.type == "cuda" else "CPUExecutionProvider"
    if provider not in onnxruntime.get_available_providers():
        raise NotApplicable(
            "this onnxruntime has no kernels for CUDA; pip install onnxruntime-gpu, or take --device cpu"
        )
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads, options.inter_op_num_threads = threads, 1
    ready = onnxruntime.InferenceSession(_exported(network, shape), options, providers=[provider])
    name = ready.get_inputs()[0].name

    def compute(images: Tensor) -> Tensor:
        return torch.from_numpy(ready.run(None, {name: images.cpu().numpy()})[0]).to(images.device)

    return compute


def _exported(network: nn.Module, shape: tuple[int, ...]) -> bytes:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        images = torch.zeros(2, *shape, device=next(network.parameters()).device)
        program = torch.onnx.export(
            network, (images,), dynamo=True, verbose=False, dynamic_shapes=({0: torch.export.Dim("batch")},)
        )
    assert program is not None
    return bytes(program.model_proto.SerializeToString())
