"""Networks as graphs that need no code of ours: torch's ExportedProgram and ONNX, checked on images."""

from __future__ import annotations

import io
import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.metadata import version
from importlib.util import find_spec
from typing import Any, cast

import torch
from torch import Tensor, nn

from lth_bench.errors import ModelError

TOLERANCE = 1e-5  # of the largest output, or of 1 where that is larger
NEEDED = ("onnx", "onnxscript")


def require_onnx() -> None:
    """Raises ModelError where what torch writes ONNX with is not installed."""
    if missing := [package for package in NEEDED if find_spec(package) is None]:
        raise ModelError(f"writing ONNX needs {' and '.join(missing)}: pip install 'lth-bench[onnx]'")


def exported(network: nn.Module, images: Tensor) -> torch.export.ExportedProgram:
    """A network as a program for any number of images, or for so many if it asks for that. Raises ModelError."""
    with _quiet():
        try:
            return torch.export.export(network, (images,), dynamic_shapes=({0: torch.export.Dim.AUTO},))
        except Exception as error:  # whatever torch stumbles over
            raise ModelError(f"torch.export cannot export the network ({_reason(error)})") from error


def program_file(program: torch.export.ExportedProgram) -> bytes:
    """The content of a .pt2 file."""
    buffer = io.BytesIO()
    with _quiet():
        torch.export.save(program, buffer)
    return buffer.getvalue()


def onnx_file(program: torch.export.ExportedProgram) -> bytes:
    """The content of an .onnx file. Raises ModelError."""
    with _quiet():
        try:
            written = torch.onnx.export(program, dynamo=True, verbose=False)
            return cast(bytes, cast(Any, written).model_proto.SerializeToString())
        except Exception as error:
            raise ModelError(
                f"torch {torch.__version__} and onnxscript {version('onnxscript')} cannot write the network as ONNX "
                f"({_reason(error)}); if they are not of the same time, install others"
            ) from error


@torch.no_grad()
def program_outputs(content: bytes, images: Tensor) -> Tensor:
    """What a .pt2 file computes."""
    with _quiet():
        return cast(Tensor, torch.export.load(io.BytesIO(content)).module()(images))


def onnx_outputs(content: bytes, images: Tensor) -> Tensor | None:
    """What an .onnx file computes by onnxruntime; None where that is not installed."""
    if find_spec("onnxruntime") is None:
        return None
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3  # errors
    session = onnxruntime.InferenceSession(content, options, providers=["CPUExecutionProvider"])
    (output,) = session.run(None, {session.get_inputs()[0].name: images.numpy()})
    return torch.from_numpy(output)


def difference(outputs: Tensor, wanted: Tensor, what: str) -> float:
    """The largest difference between outputs, as a share of the largest output if that is above 1.

    Raises ModelError where it is above the tolerance.
    """
    share = float((outputs - wanted).abs().max()) / max(1.0, float(wanted.abs().max()))
    if not share <= TOLERANCE:
        raise ModelError(
            f"the outputs of {what} and of the masked network differ by {share:.1e} of the largest output, more than "
            f"{TOLERANCE:g}, so nothing was written; please report this network"
        )
    return share


def _reason(error: Exception) -> str:
    text = str(error).strip()
    return f"{type(error).__name__}: {text.splitlines()[0] if text else 'no reason given'}"


@contextmanager
def _quiet() -> Iterator[None]:
    """Without what torch's exporters say of themselves."""
    loggers = [logging.getLogger(name) for name in ("torch.onnx", "torch.export", "onnxscript", "onnx_ir")]
    levels = [logger.level for logger in loggers]
    try:
        for logger in loggers:
            logger.setLevel(logging.ERROR)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)
