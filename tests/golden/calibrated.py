"""Golden checks of methods that look at what layers see of calibration examples."""

from __future__ import annotations

from typing import Any

import torch

from golden.agreement import (
    allowance,
    assert_close,
    assert_masks_equal,
    assert_scores_close,
    layer_sparsities,
    share_pruned,
)
from golden.cases import Case, Difference, Unchecked
from golden.networks import examples, network_session
from lth_bench.experiments.patterns import Pattern
from lth_bench.methods.calibration import gram, layer_calls
from lth_bench_plugins.sparsegpt import best, operate
from support.pairs import pruner


def check_wanda(case: Case) -> None:
    """Layers that the official code leaves dense are not compared; its norms are ours up to a factor for each layer."""
    if not case.masks:
        raise Unchecked("norms over batches of several sizes, which the official code weighs by their sizes")
    if "prune_n" in case.facts:
        check_wanda_pattern(case)
        return
    session, wanda = network_session(case), pruner("wanda", {})
    scores = wanda.scores(session, [examples(case)])
    official = case.own("score/")
    factors = {name: score.double().norm() / scores[name].double().norm() for name, score in official.items()}
    ours = {name: (scores[name] * factor).to(case.dtype) for name, factor in factors.items()}
    assert_scores_close(ours, official, allowance(case))
    ranked = wanda.by_row(scores, case.facts.get("sparsity", share_pruned(case.mask)))
    for name, mask in case.mask.items():
        assert torch.equal(ranked[name] > 0, mask), name


def check_wanda_pattern(case: Case) -> None:
    """Block after block, with the official masks in the blocks before, whose inputs are then the official ones.

    Layers whose inputs do not make whole groups stay dense here.
    """
    pattern = Pattern(case.facts["prune_m"] - case.facts["prune_n"], case.facts["prune_m"])
    session, wanda = network_session(case, pattern), pruner("wanda", {})
    official = {name: case.mask.get(name, mask) for name, mask in session.masks.items()}
    for block in sorted({name.split(".fc")[0] for name in case.mask}):
        ours = session.topology.pruned(wanda.scores(session, [examples(case)]), session.sparsity)
        for name in (name for name in case.mask if name.startswith(block) and pattern.fits(case.mask[name].shape)):
            assert torch.equal(ours[name], official[name]), name
        session.adopt(
            {name: official[name] if name.startswith(block) else mask for name, mask in session.masks.items()}
        )


CONDITION = 1e-8
"""What float64 is allowed where a damping of 1e-5 makes the matrix that is inverted nearly singular."""


def check_woodfisher(case: Case) -> None:
    """The official scores lack a factor of 1/2, and have 1e-10 added to the diagonal and to themselves."""
    allowed = CONDITION if case.dtype == torch.float64 else allowance(case)
    blocks = (
        "network" if "full" in case.variant or "slow" in case.variant else case.facts.get("fittable_params") or "layer"
    )
    session, woodfisher = network_session(case), pruner("woodfisher", {"blocks": blocks})
    curvature = woodfisher.curvature(session, examples(case))
    if (diagonal := case.value("diag")) is not None:
        assert_close(curvature.diagonal, diagonal, allowed)
    if not case.masks:
        return
    scores = woodfisher.scores(session, curvature)
    official = {name: (score.double() - 1e-10) / 2 for name, score in case.own("score/").items()}
    assert_scores_close(scores, official, allowed)
    mask = {name: case.mask.get(name, full) for name, full in session.masks.items()}
    shares = layer_sparsities(mask)
    woodfisher.prune(session, curvature, share_pruned(mask) if case.facts.get("joint", True) else shares)
    assert_masks_equal(session, mask)
    for name, after in case.own("w_after/").items():
        assert_close(session.weights[name].detach(), after, allowed)


COMPENSATED = 5e-5
"""What float32 is allowed in new weights, on which errors of all columns to the left have an effect."""


def check_sparsegpt(case: Case) -> None:
    """Layers that cannot hold a pattern stay dense here, and are not compared."""
    if case.own("H_diag"):
        check_hessians(case)
    if not case.masks:
        return
    pattern = pattern_of(case)
    if pattern and any(mask.ndim > 2 for mask in case.mask.values()):
        check_flat_groups(case, pattern)
        return
    session, sparsegpt = network_session(case, pattern), pruner("sparsegpt", options(case))
    layers, sparsities = list(case.mask), layer_sparsities(session.masks) | layer_sparsities(case.mask)
    blocks = [[name for name in layers if name.startswith(block)] for block in ("blocks.0.", "blocks.1.")]
    sparsegpt.prune(session, [examples(case)], blocks if "sequential" in case.variant else [layers], sparsities)
    allowed = allowance(case) if case.dtype == torch.float64 else COMPENSATED
    for name in (name for name in layers if pattern is None or pattern.fits(case.mask[name].shape)):
        assert torch.equal(session.masks[name], case.mask[name]), name
        assert_close(session.weights[name].detach(), case.own("w_after/")[name], allowed)


def pattern_of(case: Case) -> Pattern | None:
    """What is kept of so many; the official code says how many are pruned."""
    of = case.facts.get("prunem", 0)
    return Pattern(of - case.facts["prunen"], of) if of else None


def options(case: Case) -> dict[str, Any]:
    return {"columns": case.facts.get("blocksize", 128), "damping": case.facts.get("percdamp", 0.01)}


def check_hessians(case: Case) -> None:
    """The official sums are twice ours, divided by the number of examples."""
    session, batch = network_session(case), examples(case)
    calls = layer_calls(session, batch)
    for name, diagonal in case.own("H_diag/").items():
        name = f"{name.removesuffix('.weight')}.weight"
        ours = gram(session, [batch], name, calls)[0] * 2 / len(batch.inputs)
        assert_close(ours.diagonal(), diagonal, allowance(case))
        if (whole := case.own("H/").get(name)) is not None:
            assert_close(ours, whole, allowance(case))


def check_flat_groups(case: Case, pattern: Pattern) -> None:
    """The official groups of convolutions go through kernels before channels, so the layers are pruned one by one."""
    session, batch, sparsegpt = network_session(case), examples(case), pruner("sparsegpt", options(case))
    calls = layer_calls(session, batch)
    for name, mask in case.mask.items():
        matrix = session.weights[name].detach().flatten(1)[None].clone()
        upper, _ = sparsegpt.factor(gram(session, [batch], name, calls) * 2 / len(batch.inputs), matrix, 0)
        kept = operate(matrix, upper, 128, pattern.of, lambda costs, start: best(costs, pattern.kept))
        assert torch.equal(kept[0].view_as(mask), mask), name
        assert_close(matrix[0].view_as(mask), case.own("w_after/")[name], allowance(case))


CHECKS = {"sparsegpt": check_sparsegpt, "wanda": check_wanda, "woodfisher": check_woodfisher}
NOT_COMPARABLE = [
    Difference(
        "woodfisher", lambda case: case.variant.startswith("mfac."), "the last of the gradients stays zero there"
    ),
    Difference(
        "woodfisher",
        lambda case: bool(case.facts.get("recompute_num")),
        "every round removes one weight more than its share, and those of later rounds follow from that",
    ),
    Difference(
        "wanda",
        lambda case: case.variant.startswith("llm.") and bool(case.masks) and "prune_n" not in case.facts,
        "later blocks see what pruned ones put out; here, all see the dense network's",
    ),
    Difference(
        "wanda", lambda case: case.facts.get("granularity") == "layer", "ranks over whole layers, not over rows"
    ),
]
