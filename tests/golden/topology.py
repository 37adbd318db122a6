"""Golden checks of one update of the topology in dynamic sparse training: what is dropped, what is grown."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping

import numpy as np
import pytest
import torch
from torch import Tensor

from golden.agreement import assert_masks_equal
from golden.cases import Case, Difference, Unchecked
from golden.networks import Weights, examples, session_on
from golden.phases import followed
from golden.schedules import check_schedule
from lth_bench.experiments.durations import Duration
from lth_bench.experiments.recipe import Recipe
from lth_bench.methods.scores import magnitude
from lth_bench.methods.sparse_training import dropped, exchanged, grown
from lth_bench.pruning.allocation import kept_count
from lth_bench.training.session import Session
from lth_bench_plugins import mest
from support.pairs import pruner

Masks = dict[str, Tensor]
GROWTH = {"gradient": "grad/", "random": "rand/"}
"""The arrays by which weights are grown."""
COUNTS: dict[str, Callable[[int, float], int]] = {
    "google-research/rigl": lambda kept, fraction: int(np.float32(kept) * np.float32(fraction)),
    "google-research/jaxpruner": lambda kept, fraction: kept - max(1, round(kept * (1 - fraction))),
    "nollied/": lambda kept, fraction: int(kept * fraction),
    "Shiweiliuiiiiiii/": lambda kept, fraction: math.ceil(kept * fraction),
}
"""How many of a layer's weights the official codes drop, by repository."""


def check_topology(case: Case) -> None:
    (check_update if case.masks and case.arrays("mask_in/") else check_schedule)(case)


def check_update(case: Case) -> None:
    session = session_on(Weights(case.arrays("w/")))
    session.adopt({name: mask.bool() for name, mask in case.arrays("mask_in/").items()})
    for _ in session.batches():
        session.rewire(updated(case, session))
    assert_masks_equal(session, case.mask)
    for name, weight in case.own("w_after/").items():
        # Some codes leave values where the mask has a zero.
        assert torch.equal(session.weights[name], weight * session.masks[name]), name


def updated(case: Case, session: Session) -> Masks:
    """New masks by the plugins' own functions, at the number of weights that the official code drops."""
    if "SparseSET" in case.function:
        plugin = pruner("set", {"drop": "magnitude"})
        return plugin.masks(session, case.arrays("rand/"), case.facts["drop_fraction"])
    if case.by("Shiweiliuiiiiiii/") and death(case) == "magnitude":
        return exchanged(session, growth_of(case), case.facts["drop_fraction"], math.ceil)  # as `itop` does
    counts, growth, importance = drop_counts(case, session), growth_of(case), importance_of(case, session)
    masks = {
        name: grown(dropped(mask, importance[name], counts[name]), growth[name], counts[name])
        for name, mask in session.masks.items()
    }
    kept = {name: int(mask.count_nonzero()) for name, mask in session.masks.items()}
    if death(case) == "magnitude" and all(counts[n] == int(case.facts["drop_fraction"] * kept[n]) for n in kept):
        of_plugins = exchanged(session, growth, case.facts["drop_fraction"])
        assert all(torch.equal(masks[name], of_plugins[name]) for name in masks)
    return masks


def check_set(case: Case) -> None:
    """Its authors drop one positive weight more than the share rounded down, and round that of negative weights up."""
    method = pruner("set", {})
    for name, weight in case.arrays("w/").items():
        ours = method.remaining(case.arrays("mask_in/")[name].bool(), weight, case.facts["drop_fraction"])
        more = ours & ~case.mask[name]
        assert not (case.mask[name] & ~ours).any(), name
        assert (more & (weight > 0)).count_nonzero() == 1 and (more & (weight < 0)).count_nonzero() <= 1, name


def check_mest(case: Case) -> None:
    (check_bounds if case.value("lower") is not None else check_mutation)(case)


def check_mutation(case: Case) -> None:
    """At the official counts: a percentile leaves them, and growth is up to a share of zeros or by one of weights."""
    weights = {name: weight.to(case.dtype) for name, weight in case.arrays("w/").items()}
    session = session_on(Weights(weights))
    session.adopt({name: mask.bool() for name, mask in case.arrays("mask_in/").items()})
    percentile, method = case.facts["lower"] * 100, pruner("mest", {"gradients": case.facts["sp_lmd"]})
    for _ in session.batches():
        for name, weight in session.weights.items():
            gradient = case.arrays("grad/")[name].to(case.dtype) * case.facts["gradients_present"]
            weight.grad = gradient * session.masks[name]
        importance = method.importance(session)
        left = {n: int((score > np.percentile(score.numpy(), percentile)).sum()) for n, score in importance.items()}
        session.rewire(mest.pruned(session.masks, importance, left))
        counts = {n: left[n] + grown_by_mest(case, mask.numel(), left[n]) for n, mask in session.masks.items()}
        session.rewire(mest.regrown(session.masks, case.arrays("rand/"), counts))
    assert_masks_equal(session, case.mask)
    for name, weight in case.own("w_after/").items():
        assert torch.equal(session.weights[name], weight), name


def check_bounds(case: Case) -> None:
    """Sparsities of 10,000 weights at every change; the decay after the first is a half, as in the official scripts."""
    lower, upper = ([float(part) for part in case.facts[f"{name}_bound"].split("-")] for name in ("lower", "upper"))
    target, bound = upper[-1], "soft" if upper[0] < upper[-1] else "hard"
    halved, until = case.facts["mask_update_decay_epoch"].split("-")
    mutation = round((lower[0] - upper[0]) / (1 - target), 12)
    spans = {"interval": f"{case.facts['freq']}it", "halved": f"{halved}it", "until": f"{until}it"}
    method = pruner("mest", {**spans, "bound": bound, "mutation": mutation})
    recipe = Recipe(Duration(f"{case.facts['epochs']}it"), 1, 0.1)
    session = followed(Weights({"layer.weight": torch.ones(100, 100)}), examples(case), recipe, target)
    official = zip(*(case.own(name)[""].tolist() for name in ("lower", "upper")), strict=True)
    due = dict(zip(case.own("epoch")[""].tolist(), official, strict=True))
    for _ in session.batches():
        if session.step in due:
            counts = method.counts(session, {"layer.weight": kept_count(target, 10_000)})
            assert [1 - count["layer.weight"] / 10_000 for count in counts] == pytest.approx(due[session.step])


def grown_by_mest(case: Case, size: int, left: int) -> int:
    lower, upper = case.facts["lower"], case.facts["upper"]
    if lower == upper:
        return 0
    return int((lower - upper) * size) if case.facts["sp_global_magnitude"] else int(size - left - upper * size)


def drop_counts(case: Case, session: Session) -> dict[str, int]:
    if (counts := case.value("num_removed")) is not None:
        return dict(zip(case.facts.get("layer_order", session.masks), counts.tolist(), strict=True))
    rule = next((rule for owner, rule in COUNTS.items() if case.by(owner)), None)
    if rule is None:
        raise Unchecked(f"how many weights {case.facts.get('repo')} drops is not known; known: {', '.join(COUNTS)}")
    return {name: rule(int(mask.count_nonzero()), case.facts["drop_fraction"]) for name, mask in session.masks.items()}


def death(case: Case) -> str:
    return case.called_with(r"death='(\w+)'") or "magnitude"


def importance_of(case: Case, session: Session) -> Mapping[str, Tensor]:
    """What decides which weights stay. What ITOP calls SET drops by magnitude, but for a fault."""
    if death(case) in ("magnitude", "SET"):
        return magnitude(session)
    if death(case) == "Taylor_FO":
        return {name: (session.weights[name].detach() * slope) ** 2 for name, slope in case.arrays("grad/").items()}
    raise Unchecked(f"no check for weights that are dropped by {death(case)!r}; known: magnitude, SET, Taylor_FO")


def growth_of(case: Case) -> dict[str, Tensor]:
    growth = case.called_with(r"growth='(\w+)'") or ("random" if "SET" in case.function else "gradient")
    if growth not in GROWTH:
        raise Unchecked(f"no check for weights that are grown by {growth!r}; known: {', '.join(GROWTH)}")
    scores = case.arrays(GROWTH[growth])
    if not scores:
        raise Unchecked(f"the case grows weights by {growth!r} and has no {GROWTH[growth]} that says which")
    return {name: score.abs() for name, score in scores.items()}


CHECKS = {
    "dst_tf": check_topology,
    "dst_torch": check_topology,
    "dst_jax": check_topology,
    "mest": check_mest,
    "set_keras": check_set,
}
NOT_COMPARABLE = [
    Difference(
        "dst_torch",
        lambda case: "death='SET'" in case.function,
        "all but the largest negative weights are dropped, whatever the fraction; and growth is by a probability",
    ),
    Difference(
        "dst_torch",
        lambda case: case.by("Shiweiliuiiiiiii/") and "growth='random'" in case.function,
        "every pruned weight is grown with a probability, so that the number of weights holds on average only",
    ),
]
