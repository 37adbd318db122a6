"""Golden checks of one update of the topology in dynamic sparse training: what is dropped, what is grown."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping

import numpy as np
import torch
from torch import Tensor

from golden.agreement import assert_masks_equal
from golden.cases import Case, Difference, Unchecked
from golden.networks import Weights, session_on
from golden.schedules import check_schedule
from lth_bench.methods.scores import magnitude
from lth_bench.methods.sparse_training import dropped, exchanged, grown
from lth_bench.training.session import Session
from lth_bench_plugins.srigl import Layer
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
ABLATION = {
    "dynamic_ablation",
    "min_salient_weights_per_neuron",
    "no_ablation_module_names",
    "sparsity_distribution",
    "use_sparse_const_fan_in_for_ablation",
}
"""The options of SRigL's code that the check knows."""


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


def check_constant_fan_in(case: Case) -> None:
    """Layers in which the official code breaks ties in no order agree in the number of weights of each neuron."""
    facts, ablated = case.facts, case.value("ablated_neurons")
    before = case.arrays(f"mask_in/{facts['distribution']}/")
    for name, sparsity, count in zip(case.arrays("w/"), facts["layer_sparsity"], ablated, strict=True):
        if sparsity == 0:
            continue
        mask, (weight, gradient) = (
            before[name].bool(),
            (case.arrays(kind)[name].to(case.dtype) for kind in ("w/", "grad/")),
        )
        layer = Layer(mask, weight.abs() * mask, gradient.abs(), int(mask.numel() * (1 - sparsity)))
        ours, official = layer.updated(facts["drop_fraction"], minimum(case, name, layer)), case.mask[name]
        rows, theirs = (each.flatten(1).sum(1) for each in (ours, official))
        assert torch.equal(rows, theirs) and int((rows == 0).count_nonzero()) == count, name
        if name not in facts["layers_with_ties"]:
            assert torch.equal(ours, official), name
            assert torch.equal(weight * mask * ours, case.own("w_after/")[name]), name


def minimum(case: Case, name: str, layer: Layer) -> int:
    """The number of salient weights that keeps a neuron, of the constant fan-in, as in `srigl`, or of the dense one."""
    options = {"min_salient_weights_per_neuron": 0, **case.facts["options"]}
    if unknown := sorted(options.keys() - ABLATION):
        raise Unchecked(f"no check for the options {', '.join(unknown)}; known: {', '.join(sorted(ABLATION))}")
    least, exempt = options["min_salient_weights_per_neuron"], options.get("no_ablation_module_names") or ()
    if not options.get("dynamic_ablation") or name.split(".")[-2] in exempt:
        return 0
    if least >= 1:
        return int(least)
    sparse = options.get("use_sparse_const_fan_in_for_ablation")
    return pruner("srigl", {"salient": least}).minimum(layer.fan_in if sparse else layer.mask[0].numel())


CHECKS = {
    "dst_tf": check_topology,
    "dst_torch": check_topology,
    "dst_jax": check_topology,
    "set_keras": check_set,
    "srigl": check_constant_fan_in,
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
