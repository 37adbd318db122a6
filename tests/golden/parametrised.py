"""Golden checks of weights that are computed from something else: edge-popup, factorised layers, powers,
SR-STE and STR.
"""

from __future__ import annotations

import math
from collections.abc import Mapping

import torch
from torch import Tensor
from torch.nn.functional import conv2d, linear

from golden.agreement import (
    allowance,
    assert_close,
    assert_masks_equal,
    assert_scores_close,
    layer_sparsities,
    share_pruned,
)
from golden.cases import Case, Difference
from golden.networks import examples, network_session, weights_session
from lth_bench.experiments.patterns import Pattern
from lth_bench.methods.scores import magnitude
from lth_bench.pruning.allocation import kept_count
from lth_bench.training.session import Session
from lth_bench_plugins.parametrisations.factors import Factors, squared_norm, unfolded
from lth_bench_plugins.parametrisations.power import Power
from lth_bench_plugins.parametrisations.selection import Selection
from lth_bench_plugins.parametrisations.soft_thresholded import SoftThresholded
from lth_bench_plugins.parametrisations.subnet import Subnet
from lth_bench_plugins.powerprop import sparsities
from support.pairs import pruner

INITIALISATIONS = {"xavier_constant": "glorot_constant"}
"""Our words for those of the authors of edge-popup, where they differ."""
NO_THRESHOLD = -1000.0
"""Of which the sigmoid is zero."""


def check_edge_popup(case: Case) -> None:
    session, scores = network_session(case), case.arrays("score_param/")
    session.model.requires_grad_(False)
    kept = {layer: int(mask.count_nonzero()) for layer, mask in case.mask.items()}
    subnets = session.parametrize(lambda layer, weight: Subnet(scores[layer].to(case.dtype), kept[layer]))
    check_gradients(case, session, subnets)
    session.bake()
    for layer, mask in case.mask.items():
        assert torch.equal(session.weights[layer] != 0, mask)


def check_gradients(case: Case, session: Session, subnets: dict[str, Subnet]) -> None:
    with session.scoring(training=case.batch_statistics):
        check_passes(case, session)
        for layer, gradient in case.own("score_grad/").items():
            assert_close(subnets[layer].scores.grad, gradient, allowance(case))


def check_edge_popup_initialisation(case: Case) -> None:
    facts = case.facts
    arguments = {
        "initialisation": INITIALISATIONS.get(facts["init"], facts["init"]),
        "fan": facts["mode"].removeprefix("fan_"),
        # The authors' code multiplies the fan by one minus what it keeps.
        "scale_fan": "pruned" if facts["scale_fan"] else "none",
    }
    edge_popup = pruner("edge_popup", arguments)
    for layer, raw in case.arrays("raw/").items():
        values = edge_popup.initial(raw, facts["prune_rate"], torch.Generator())
        assert_close(values, case.own("weight/")[layer], allowance(case))


def check_factorised(case: Case) -> None:
    weight, bias, x = (case.own(name)[""].to(case.dtype) for name in ("weight", "bias", "x"))
    parametrisation = Factors(weight.shape, case.facts["rank"])
    factors = [factor.requires_grad_() for factor in parametrisation.right_inverse(weight)]
    product, norm = parametrisation(*factors), squared_norm(*factors)
    (case.meta["coef"] / 2 * norm).backward()
    output = transformed(case, x, product, bias)
    check_values(case, {"product": unfolded(product), "output": output, "frobenius_norm": norm.sqrt()})
    # The factors themselves are known but for the sign of their columns.
    for factor, name in zip(factors, ("U", "VT"), strict=True):
        check_values(case, {name: factor.abs(), f"frobdecay_grad_{name}": factor.grad.abs()}, torch.abs)


def transformed(case: Case, x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    if weight.ndim == 2:
        return linear(x, weight, bias)
    return conv2d(x, weight, bias, case.facts.get("stride", 1), case.facts.get("padding", 0))


def check_values(case: Case, ours: dict[str, Tensor], of=torch.clone) -> None:
    """Compares those that the case has; `of` them, as a function of one tensor."""
    for name, value in ours.items():
        if (official := case.value(name)) is not None:
            assert_close(value.detach(), of(official).view(value.shape), allowance(case))


def is_cut_otherwise(case: Case) -> bool:
    """Whether a kernel has several rows and several inputs, which the authors' code puts in another order."""
    _, inputs, *kernel = [*case.facts["shape"], 1]
    return inputs > 1 and kernel[0] > 1


def check_sr_ste(case: Case) -> None:
    """Gradients and masks; without a network, gradients are those of weights by what comes from above them."""
    pattern, whole = Pattern(case.facts["keep"], case.facts["of"]), case.variant.startswith("network.")
    session = network_session(case, pattern) if whole else weights_session(weights_alone(case), pattern)
    sr_ste = pruner("sr_ste", {"decay": case.facts["decay"]} if "decay" in case.facts else {})
    modules = sr_ste.parametrize(session)
    with session.scoring(training=case.batch_statistics):
        if whole:
            check_passes(case, session)
        else:
            upstream = case.arrays("gout/")
            for layer in upstream.keys() & modules.keys():
                modules[layer](session.weights[layer]).backward(upstream[layer].to(case.dtype))
        assert_scores_close(gradients(session.weights), case.own("grad_w/"), allowance(case))
    sr_ste.settle(session)
    for mask in case.masks.values():
        assert_masks_equal(session, {layer: torch.ones_like(kept) for layer, kept in session.masks.items()} | mask)


def check_powerprop(case: Case) -> None:
    """Initial values; or gradients of what is trained, weights and masks."""
    power = Power(case.facts["alpha"])
    if case.value("theta") is not None:
        check_values(case, {"theta": power.right_inverse(case.arrays("u")[""].to(case.dtype))})
        return
    for mask in case.masks.values() or [{}]:
        session = network_session(case)
        trained = {layer: weight.detach().clone() for layer, weight in session.weights.items()}
        session.parametrize(lambda layer, weight: power)
        for layer, weight in session.weights.items():
            weight.data.copy_(trained[layer])
        with session.scoring(training=case.batch_statistics):
            check_passes(case, session)
            assert_scores_close(gradients(session.weights), case.own("grad_theta/"), allowance(case))
        session.bake()
        weights = {layer: weight.detach() for layer, weight in session.weights.items()}
        assert_scores_close(weights, case.own("w/"), allowance(case))
        check_shares(session, mask)


def check_shares(session: Session, mask: dict[str, Tensor]) -> None:
    """The largest weights of each layer; their numbers, rounded down one by one there, agree to one weight."""
    shares = sparsities(session, share_pruned(mask)) if mask else {}
    for layer, sparsity in shares.items():
        assert abs(kept_count(sparsity, mask[layer].numel()) - int(mask[layer].count_nonzero())) <= 1, layer
    if mask:
        session.prune(magnitude(session), layer_sparsities(mask))
        assert_masks_equal(session, mask)


def check_str(case: Case) -> None:
    """Gradients, weights and masks; without a network, gradients are those by what comes from above the weights."""
    whole, starts = case.variant.startswith("network."), case.own("s/")
    session = network_session(case) if whole else weights_session(weights_alone(case))
    gates = Selection(lambda: {layer: module.excess(session.weights[layer]) for layer, module in modules.items()}, 0.0)

    def thresholded(layer: str, weight: Tensor) -> SoftThresholded:
        start = float(starts[layer]) if layer in starts else case.facts.get("s", NO_THRESHOLD)
        return SoftThresholded(layer, weight, gates, start)

    modules = session.parametrize(thresholded)
    with session.scoring(training=case.batch_statistics):
        for module in modules.values():
            module.train()  # in evaluation mode they keep an exact number of weights
        if whole:
            check_passes(case, session)
        else:
            check_shrunk(case, session, modules)
        assert_scores_close(gradients(session.weights), case.own("grad_w/"), allowance(case))
        thresholds = {layer: module.s for layer, module in modules.items()}
        found = {layer: gradient.view(1) for layer, gradient in gradients(thresholds).items()}
        assert_scores_close(found, case.own("grad_s/"), allowance(case))


def check_shrunk(case: Case, session: Session, modules: dict[str, SoftThresholded]) -> None:
    shrunk = {layer: module(session.weights[layer]) for layer, module in modules.items()}
    assert_scores_close(
        {layer: weight.detach() for layer, weight in shrunk.items()}, case.own("w_sparse/"), allowance(case)
    )
    for layer, weight in shrunk.items():
        assert torch.equal(weight != 0, case.mask[layer]), layer
        check_values(case, {"threshold": modules[layer].s.sigmoid()})
        weight.backward(case.arrays("gout/")[layer].to(case.dtype))


def gradients(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Of those that have some."""
    return {layer: tensor.grad for layer, tensor in tensors.items() if tensor.grad is not None}


def check_passes(case: Case, session: Session) -> None:
    """Outputs and loss, whose gradients are left on the network; for inside `scoring`."""
    batch = examples(case)
    values = {"logits": session.logits(batch.inputs), "loss": session.loss(batch)}
    check_values(case, values)
    values["loss"].backward()


def weights_alone(case: Case) -> dict[str, Tensor]:
    return {layer: case.arrays("param/")[layer].to(case.dtype) for layer in case.mask}


def is_grouped_otherwise(case: Case) -> bool:
    """Whether groups run along a kernel of several positions, or on from one output or position to the next."""
    pattern, flat = Pattern(case.facts["keep"], case.facts["of"]), "Sparse.apply" in case.function
    shapes = [mask.shape for masks in case.masks.values() for mask in masks.values()]
    return any(not pattern.fits(shape) or (flat and math.prod(shape[2:]) > 1) for shape in shapes)


CHECKS = {
    "edgepopup": check_edge_popup,
    "edgepopup_init": check_edge_popup_initialisation,
    "factorized": check_factorised,
    "powerprop": check_powerprop,
    "sr_ste": check_sr_ste,
    "str": check_str,
}
NOT_COMPARABLE = [
    Difference(
        "factorized",
        is_cut_otherwise,
        "the authors' code cuts the weights of a convolution into a matrix in another order than it reads them",
    ),
    Difference(
        "sr_ste",
        is_grouped_otherwise,
        "groups run along the flattened weight; here, along the inputs of one output, at one position of the kernel",
    ),
]
