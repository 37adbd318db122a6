"""Scores of a network at initialisation, on a few training examples."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.nn.functional import cross_entropy

from lth_bench.data.examples import Batch, Source
from lth_bench.models.modes import mode
from lth_bench.pruning.allocation import SPARSITIES, kept_count
from lth_bench.pruning.masks import Scores, check_scores, full, highest, kept
from lth_bench.randomness import generator, kept_noise

EXAMPLES = 32  # for scores on small images
PIXELS = EXAMPLES * 64 * 64  # of all examples together, at most
TEMPERATURE = 200  # of GraSP's logits

Weights = Mapping[str, nn.Parameter]


def diagnostic_batch(data: Source) -> Batch:
    """The examples that networks are diagnosed with, the same for every seed; fewer of large images."""
    count = max(8, min(EXAMPLES, PIXELS // (data.shape[1] * data.shape[2])))
    order = torch.randperm(len(data), generator=generator(0, "doctor"))[:count]
    return data.batch(order.to(data.labels.device))


def sensitivities(network: nn.Module, weights: Weights, batch: Batch) -> dict[str, Tensor]:
    """SNIP's scores, |gradient × weight|, by layer, with running statistics; without side effects."""
    with kept_noise(batch.inputs.device), mode(network, training=False):
        loss = cross_entropy(network(batch.inputs), batch.labels)
        gradients = torch.autograd.grad(loss, list(weights.values()), allow_unused=True)
    pairs = zip(weights.items(), gradients, strict=True)
    return {
        name: torch.zeros_like(weight) if gradient is None else (gradient * weight).detach().abs()
        for (name, weight), gradient in pairs
    }


def gradient_flows(network: nn.Module, weights: Weights, batch: Batch) -> dict[str, Tensor] | None:
    """GraSP's scores without their sign, weight × Hessian × gradient, by layer; changes running statistics.

    None where the network has no second derivative. Wang et al. 2020, arXiv:2002.07376, equation 8.
    """
    values = list(weights.values())
    with kept_noise(batch.inputs.device), mode(network, training=True), sdpa_kernel(SDPBackend.MATH):
        try:
            loss = cross_entropy(network(batch.inputs) / TEMPERATURE, batch.labels)
            gradients = torch.autograd.grad(loss, values, create_graph=True, allow_unused=True)
            product = torch.stack([(g.detach() * g).sum() for g in gradients if g is not None]).sum()
            seconds = torch.autograd.grad(product, values, allow_unused=True)
        except RuntimeError:
            return None
    pairs = zip(weights.items(), seconds, strict=True)
    return {name: torch.zeros_like(weight) if h is None else (weight * h).detach() for (name, weight), h in pairs}


def surviving(scores: Scores) -> dict[str, tuple[int, ...]]:
    """By layer, the number of weights with a score above zero that a global threshold keeps at each of SPARSITIES."""
    check_scores(scores, full(scores))
    size = sum(score.numel() for score in scores.values())
    positive = {name: score > 0 for name, score in scores.items()}
    most = sum(kept(positive).values())
    counts = [kept(highest(scores, positive, min(most, kept_count(sparsity, size)))) for sparsity in SPARSITIES]
    return {name: tuple(by_layer[name] for by_layer in counts) for name in scores}
