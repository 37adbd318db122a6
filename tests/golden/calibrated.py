"""Golden checks of methods that look at what layers see of calibration examples."""

from __future__ import annotations

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


CHECKS = {"wanda": check_wanda, "woodfisher": check_woodfisher}
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
