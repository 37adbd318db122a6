"""Latencies of a ticket's network: each engine beside the dense network, after a check that they agree."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.metadata import version

import torch
from torch import Tensor

from lth_bench.machine import processor_kind
from lth_bench.models.modes import mode
from lth_bench.randomness import generator
from lth_bench.speed.applicable import NotApplicable
from lth_bench.speed.engines import ENGINES, Compute, Subject, dense
from lth_bench.speed.onnx_runtime import is_installed
from lth_bench.speed.timing import interleaved, speedup, spread
from lth_bench.storage.latency import Latency, MeasuredOn

TOLERANCES = {torch.float32: 1e-3, torch.float16: 3e-2}  # of the largest logit


@dataclass(frozen=True)
class Terms:
    """What is measured: names of `ENGINES`, sizes of batches, threads, and the seconds for each network."""

    engines: Sequence[str]
    batches: Sequence[int]
    threads: int
    seconds: float


class Disagrees(Exception):
    """An engine whose logits are not those of the dense network."""


def measured(subject: Subject, terms: Terms) -> list[Latency]:
    """The latencies of all engines at all batch sizes; one that cannot run, or computes otherwise, has a reason."""
    with _threads(terms.threads), torch.inference_mode(), mode(subject.network, training=False):
        prepared = {name: _prepared(name, subject, terms.threads) for name in terms.engines}
        seconds = terms.seconds / len(terms.batches)
        return [one for batch in terms.batches for one in _at(subject, batch, prepared, seconds)]


def machine(device: torch.device, threads: int) -> MeasuredOn:
    """This machine as latencies name it."""
    name = torch.cuda.get_device_name(device) if device.type == "cuda" else "cpu"
    runtime = version("onnxruntime") if is_installed() else ""
    return MeasuredOn(processor_kind(), name, threads, str(torch.__version__), runtime)


def _prepared(name: str, subject: Subject, threads: int) -> Compute | str:
    """An engine ready to compute, or why it is not."""
    try:
        return ENGINES[name].prepare(subject, threads)
    except NotApplicable as refusal:
        return f"not applicable: {refusal}"
    except Exception as error:
        return _failed(error)


def _at(subject: Subject, batch: int, prepared: dict[str, Compute | str], seconds: float) -> Iterator[Latency]:
    """The latencies at one batch size, of engines in the order of their names."""
    images = torch.randn(batch, *subject.shape, generator=generator(batch, "latency")).to(subject.device)
    checked = {name: _checked(name, compute, subject, images) for name, compute in prepared.items()}
    fit = {name: compute for name, compute in checked.items() if not isinstance(compute, str)}
    precisions = dict.fromkeys(ENGINES[name].precision for name in fit)
    calls = {str(precision): _call(dense(subject, precision), images) for precision in precisions}
    calls |= {name: _call(compute, images) for name, compute in fit.items()}
    times = interleaved(calls, seconds) if fit else {}
    for name, compute in checked.items():
        if isinstance(compute, str):
            yield Latency(engine=name, batch=batch, reason=compute)
        else:
            yield _latency(name, batch, times[str(ENGINES[name].precision)], times[name])


def _latency(name: str, batch: int, slow: list[float], own: list[float]) -> Latency:
    return Latency(
        engine=name, batch=batch, rounds=len(own), dense=spread(slow), own=spread(own), speedup=speedup(slow, own)
    )


def _checked(name: str, compute: Compute | str, subject: Subject, images: Tensor) -> Compute | str:
    """The engine, or why it is refused."""
    if isinstance(compute, str):
        return compute
    try:
        check(compute(images), subject.network(images), TOLERANCES[ENGINES[name].precision])
    except Disagrees as fault:
        return f"refused: {fault}"
    except Exception as error:
        return _failed(error)
    return compute


def check(logits: Tensor, wanted: Tensor, tolerance: float) -> None:
    """Raises Disagrees unless logits are those of the dense network, up to a share of its largest."""
    if logits.shape != wanted.shape:
        raise Disagrees(f"its output has the shape {tuple(logits.shape)}, the dense network's {tuple(wanted.shape)}")
    largest, apart = float(wanted.abs().max()), float((logits - wanted).abs().max())
    if not apart <= tolerance * largest:
        raise Disagrees(
            f"its logits differ from the dense network's by up to {apart:.2g}, where {largest:.2g} is the largest"
        )


def _failed(error: Exception) -> str:
    return f"failed: {type(error).__name__}: {' '.join(str(error).split())[:200]}"


def _call(compute: Compute, images: Tensor) -> Callable[[], object]:
    if images.device.type != "cuda":
        return lambda: compute(images)

    def whole() -> None:
        compute(images)
        torch.cuda.synchronize()

    return whole


@contextmanager
def _threads(count: int) -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(before)
