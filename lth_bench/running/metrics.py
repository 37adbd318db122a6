"""Measures a finished network: its answers on the test split, weights on paths, latency and FLOPs."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from statistics import median

import torch
from torch import Tensor, nn

from lth_bench.data.examples import Source
from lth_bench.models.modes import mode
from lth_bench.models.predictions import nothing, predictions
from lth_bench.storage.answers import Answers
from lth_bench.storage.work import Network, RecordedLayer

BINS = 15  # of the calibration error
TOP = 5
FAINT = 1e-20  # an input so small that no activation saturates
PASSES, WARM, SECONDS = 30, 3, 1.0  # of a latency: timed passes, passes before them, and the time limit


def answered(
    network: nn.Module, data: Source, progress: Callable[[], None] = nothing
) -> tuple[dict[str, float], Answers]:
    """Mean cross-entropy in nats (`loss`), shares from 0 to 1 (`accuracy`, `calibration_error`, `top5_accuracy`), and
    which answers are right.

    The calibration error is the expected one over 15 bins of equal width (Guo et al. 2017, arXiv:1706.04599, section
    2); `top5_accuracy` only for more than ten classes. `progress` is called after every chunk of examples.
    """
    loss, top, seen = 0.0, 0, []
    for logits, labels in predictions(network, data, progress):
        loss += float(nn.functional.cross_entropy(logits, labels, reduction="sum"))
        confidence = logits.double().softmax(1).amax(1)
        seen.append(torch.stack([confidence, (logits.argmax(1) == labels).double()]))
        best = logits.topk(min(TOP, logits.shape[1]), dim=1).indices
        top += int((best == labels[:, None]).sum())
    confidence, correct = torch.cat(seen, 1).cpu()
    several = {"top5_accuracy": top / len(data)} if logits.shape[1] > 10 else {}
    error = calibration_error(confidence, correct)
    shares = {"accuracy": int(correct.sum()) / len(data), "calibration_error": error, **several}
    return {"loss": loss / len(data), **shares}, Answers.of(correct.bool().tolist())


def calibration_error(confidence: Tensor, correct: Tensor) -> float:
    """Mean distance between the confidence of N answers and the share of correct ones among equally confident ones."""
    place = (confidence * BINS).ceil().long().clamp(1, BINS) - 1
    gaps = torch.zeros(BINS, dtype=torch.float64).index_add_(0, place, confidence - correct)
    return float(gaps.abs().sum() / len(confidence))


def on_paths(network: nn.Module, weights: Mapping[str, nn.Parameter], shape: tuple[int, ...]) -> dict[str, int] | None:
    """Counts the weights of each layer on a path from input to output: those with a SynFlow score above zero.

    Scores are those of Tanaka et al. 2020 (arXiv:2006.05467) without shifts, with each layer scaled such that no
    activation saturates. Changes the network. None where scores cannot be computed or are not finite.
    """
    network.double().requires_grad_(False)
    _straighten(network)
    for weight in weights.values():
        rows = weight.flatten(1).sum(1).max()
        weight.div_(rows.clamp(min=torch.finfo(rows.dtype).tiny)).requires_grad_()
    image = torch.full((1, *shape), FAINT, dtype=torch.float64, device=next(network.parameters()).device)
    try:
        with torch.enable_grad(), mode(network, training=False):
            slopes = torch.autograd.grad(network(image).sum() / FAINT, list(weights.values()), materialize_grads=True)
    except RuntimeError:  # a network that computes in another precision, whatever its weights are in
        return None
    if not all(bool(slope.isfinite().all()) for slope in slopes):
        return None
    scores = zip(weights, slopes, strict=True)
    return {name: int((slope * weights[name]).count_nonzero()) for name, slope in scores}


@torch.no_grad()
def _straighten(network: nn.Module) -> None:
    """Sets all shifts to zero, and makes every factor positive."""
    for name, value in network.state_dict().items():
        own = name.rpartition(".")[2]
        if "bias" in own or own == "running_mean":
            value.zero_()
        elif own == "running_var":
            value.fill_(1)
        elif value.is_floating_point():
            closed = value.isneginf()  # a constant, as in a causal mask
            value.abs_().masked_fill_(closed, -torch.inf)


@torch.no_grad()
def latency(network: nn.Module, shape: tuple[int, ...]) -> float:
    """Median seconds of a forward pass of one image, C×H×W."""
    device = next(network.parameters()).device
    image = torch.ones(1, *shape, device=device)
    times: list[float] = []
    with mode(network, training=False):
        while len(times) < WARM + PASSES and (len(times) <= WARM or sum(times) < SECONDS):
            started = time.perf_counter()
            network(image)
            if device.type == "cuda":
                torch.cuda.synchronize()
            times.append(time.perf_counter() - started)
    return median(times[WARM:])


def described(network: nn.Module, weights: Mapping[str, nn.Parameter], shape: tuple[int, ...]) -> Network:
    """The parameters of a network, the shapes of its prunable weights, and the FLOPs of one image's forward pass."""
    from lth_bench.models.flops import passage
    from lth_bench.models.left_out import left_out

    flops = passage(network, weights, shape)
    layers = [RecordedLayer(name, list(weight.shape), flops.layers[name]) for name, weight in weights.items()]
    parameters = sum(parameter.numel() for parameter in network.parameters())
    return Network(layers, flops.other, parameters, sum(left_out(network, weights, shape).values()))
