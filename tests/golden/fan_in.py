"""Golden checks of one update of the topology under a constant fan-in."""

from __future__ import annotations

import torch

from golden.cases import Case, Difference, Unchecked
from lth_bench_plugins.srigl import Layer
from support.pairs import pruner

ABLATION = {
    "dynamic_ablation",
    "min_salient_weights_per_neuron",
    "no_ablation_module_names",
    "sparsity_distribution",
    "use_sparse_const_fan_in_for_ablation",
}
"""The options of SRigL's code that the check knows."""


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


CHECKS = {"srigl": check_constant_fan_in}
NOT_COMPARABLE: list[Difference] = []
