"""Golden checks of methods that look at what layers see of calibration examples."""

from __future__ import annotations

import torch

from golden.agreement import allowance, assert_scores_close, share_pruned
from golden.cases import Case, Difference, Unchecked
from golden.networks import examples, network_session
from support.pairs import pruner


def check_wanda(case: Case) -> None:
    """Layers that the official code leaves dense are not compared; its norms are ours up to a factor for each layer."""
    if not case.masks:
        raise Unchecked("norms over batches of several sizes, which the official code weighs by their sizes")
    session, wanda = network_session(case), pruner("wanda", {})
    scores = wanda.scores(session, [examples(case)])
    official = case.own("score/")
    factors = {name: score.double().norm() / scores[name].double().norm() for name, score in official.items()}
    ours = {name: (scores[name] * factor).to(case.dtype) for name, factor in factors.items()}
    assert_scores_close(ours, official, allowance(case))
    ranked = wanda.by_row(scores, case.facts.get("sparsity", share_pruned(case.mask)))
    for name, mask in case.mask.items():
        assert torch.equal(ranked[name] > 0, mask), name


CHECKS = {"wanda": check_wanda}
NOT_COMPARABLE = [
    Difference(
        "wanda",
        lambda case: case.variant.startswith("llm.") and bool(case.masks),
        "later blocks see what pruned ones put out, or patterns N:M; here, all see the dense network's",
    ),
    Difference(
        "wanda", lambda case: case.facts.get("granularity") == "layer", "ranks over whole layers, not over rows"
    ),
]
