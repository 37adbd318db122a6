"""Golden checks of magnitude pruning, IMP and LAMP; and jaxpruner's, which ranks by SNIP's scores too."""

from __future__ import annotations

from itertools import count, takewhile

import torch
from torch import Tensor

from golden.agreement import allowance, assert_masks_equal, assert_scores_close, layer_sparsities, share_pruned
from golden.cases import Case, Difference
from golden.networks import Sloped, network_session, session_on, weights_session
from lth_bench.experiments.patterns import Pattern
from lth_bench.methods.rounds import global_rounds
from lth_bench.methods.scores import magnitude
from lth_bench.methods.sparse_training import layer_sparsities as spread_sparsities
from lth_bench.pruning.allocation import kept_count
from support.pairs import pruner


def check_magnitude(case: Case) -> None:
    weights = case.own("w/") or {name: w for name, w in case.arrays("param/").items() if w.ndim > 1}
    for name, mask in case.masks.items():
        session = weights_session(weights)
        by_layer = "local" in name or case.called_with("scope=(local)") is not None
        session.prune(magnitude(session), layer_sparsities(mask) if by_layer else share_pruned(mask))
        assert_masks_equal(session, mask)


def check_magnitude_jax(case: Case) -> None:
    session = weights_session(case.arrays("w/"))
    scores = sensitivities(case) if "Saliency" in case.function else magnitude(session)
    if case.facts.get("use_normalization"):  # jaxpruner's convention; no plugin here has it
        scores = {name: score / score.norm() for name, score in scores.items()}
    session.prune(scores, share_pruned(case.mask) if "Global" in case.function else layer_sparsities(case.mask))
    assert_masks_equal(session, case.mask)
    if distribution := case.called_with(r"instant_sparsify, (uniform|erk)"):
        check_counts_by_layer(case, distribution)


def check_counts_by_layer(case: Case, distribution: str) -> None:
    """Layers keep what jaxpruner's do, which are rounded one by one, to one weight."""
    session = weights_session(case.arrays("w/"))
    for name, sparsity in spread_sparsities(session, distribution, case.facts["sparsity"]).items():
        size, official = case.mask[name].numel(), int(case.mask[name].count_nonzero())
        assert abs(kept_count(sparsity, size) - official) <= 1, name


def sensitivities(case: Case) -> dict[str, Tensor]:
    """SNIP's scores in a network with the case's weights and gradients."""
    weights, gradients = ({name: w.double() for name, w in case.arrays(part).items()} for part in ("w/", "grad/"))
    session = session_on(Sloped(weights, gradients).double())
    return pruner("snip", {"examples": 1}).scores(session, [session.sample(1)])


def check_imp(case: Case) -> None:
    """Every round prunes the weights that the one before was trained to."""
    rounds = list(takewhile(lambda trained: trained[0], ((case.own(f"w_trained_{i}/"), i) for i in count(1))))
    session = weights_session(rounds[0][0])
    for trained, number in rounds:
        mask = case.masks[f"mask_{number}"]
        for name, weight in session.weights.items():
            weight.data.copy_(trained[name])
        ignored = case.facts.get("pruning_layers_to_ignore")
        session.prune(magnitude(session), layer_sparsities(mask) if ignored else share_pruned(mask))
        assert_masks_equal(session, mask)
    if not ignored and not case.facts.get("quantisation"):
        check_rounds_of_imp(case, [weights for weights, _ in rounds])


def check_rounds_of_imp(case: Case, trained: list[dict[str, Tensor]]) -> None:
    """Our own counts over a whole run: what open_lth keeps, and the one weight or two that it prunes more a round."""
    rate, session = case.facts["pruning_fraction"], weights_session(trained[0])
    size = sum(mask.numel() for mask in session.masks.values())
    for number, weights in enumerate(trained, 1):
        for name, weight in session.weights.items():
            weight.data.copy_(weights[name])
        session.prune(magnitude(session), global_rounds(1 - (1 - rate) ** number, rate)[-1])
        official = case.masks[f"mask_{number}"]
        assert all(bool((mask <= session.masks[name]).all()) for name, mask in official.items())
        assert 0 <= size * share_pruned(official) - size * share_pruned(session.masks) <= 2 * number


def check_lamp(case: Case) -> None:
    """Several masks are those of consecutive rounds, without training in between."""
    session, lamp = network_session(case), pruner("lamp", {})
    assert_scores_close(lamp.scores(session), case.own("score/"), allowance(case))
    for _, mask in sorted(case.masks.items(), key=lambda item: share_pruned(item[1])):
        session.prune(lamp.scores(session), share_pruned(mask))
        assert_masks_equal(session, mask)


def check_nm_magnitude(case: Case) -> None:
    """ASP on a model: eligible layers, masks and weights; or a mask of each tensor by itself, but for vectors."""
    pattern = Pattern(2, 4)
    if "eligible" not in case.facts:
        weights = {name: w for name, w in (case.arrays("param/") | case.arrays("w/")).items() if name in case.mask}
        session = weights_session({name: weight for name, weight in weights.items() if weight.ndim > 1}, pattern)
        session.prune(magnitude(session))
        assert_masks_equal(session, {name: case.mask[name] for name in session.masks})
        return
    session, asp = network_session(case, pattern), pruner("nm_magnitude", {"eligible": "multiples"})
    sparsities = asp.sparsities(session)
    assert {name for name, sparsity in sparsities.items() if not sparsity} == set(case.facts["not_eligible"])
    session.prune(magnitude(session), sparsities)
    assert_masks_equal(session, {name: case.mask.get(name, torch.ones_like(m)) for name, m in session.masks.items()})
    assert all(torch.equal(session.weights[name], after) for name, after in case.own("w_after/").items())


CHECKS = {
    "magnitude": check_magnitude,
    "magnitude_jax": check_magnitude_jax,
    "imp": check_imp,
    "lamp": check_lamp,
    "nm_magnitude": check_nm_magnitude,
}
NOT_COMPARABLE = [
    Difference(
        "nm_magnitude", lambda case: "2d" in case.variant, "groups along outputs and inputs; here, along inputs alone"
    )
]
