"""Golden checks of edge-popup, mask criteria and factorised layers."""

from __future__ import annotations

import torch
from torch.nn.functional import linear

from golden.cases import Case, assert_masks_equal, layer_sparsities, network_session, weights_session
from lth_bench.experiments.choices import instantiate
from lth_bench.experiments.plugins import load_plugins
from lth_bench_plugins.mask_criteria import Round
from lth_bench_plugins.parametrisations.criteria import preference
from lth_bench_plugins.parametrisations.factors import Factors, squared_norm, unfolded
from lth_bench_plugins.parametrisations.subnet import Subnet


def pruner(name, arguments):
    return instantiate(load_plugins().pruners, name, arguments)


def assert_close(found, official):
    """To 1e-9 in float64, to 1e-5 of the largest in float32."""
    official = official.to(found.dtype)
    if found.dtype == torch.float64:
        torch.testing.assert_close(found, official, rtol=1e-9, atol=1e-12)
    else:
        assert (found - official).abs().max() <= 1e-5 * official.abs().max()


# ---- edge-popup ------------------------------------------------------------------------------------------------------


def check_edge_popup(case: Case):
    dtype = torch.float64 if case.result["dtype"] == "f64" else torch.float32
    session, scores = network_session(case, dtype), case.arrays("score_param/")
    session.model.requires_grad_(False)
    kept = {layer: int(mask.count_nonzero()) for layer, mask in case.masks()["mask"].items()}
    subnets = session.parametrize(lambda layer, weight: Subnet(scores[layer].to(dtype), kept[layer]))
    with session.scoring(training=case.result["bn_mode"] == "train"):
        batch = session._stream.data.batch(slice(None))
        assert_close(session.logits(batch.inputs), case.own("logits")[""])
        loss = session.loss(batch)
        loss.backward()
        assert_close(loss.detach(), case.own("loss")[""])
        for layer, gradient in case.own("score_grad/").items():
            assert_close(subnets[layer].scores.grad, gradient)
    session.bake()
    for layer, mask in case.masks()["mask"].items():
        assert torch.equal(session.weights[layer] != 0, mask)


def check_edge_popup_initialisation(case: Case):
    names = {"xavier_constant": "glorot_constant"}
    found = case.result
    edge_popup = pruner(
        "edge_popup",
        {
            "initialisation": names.get(found["init"], found["init"]),
            "fan": found["mode"].removeprefix("fan_"),
            # The authors' code multiplies the fan by one minus what it keeps.
            "scale_fan": "pruned" if found["scale_fan"] else "none",
        },
    )
    for layer, raw in case.arrays("raw/").items():
        made = edge_popup.initial(raw, found["prune_rate"], torch.Generator())
        assert_close(made, case.own("weight/")[layer])


# ---- mask criteria ---------------------------------------------------------------------------------------------------


def layers(case: Case, flat: torch.Tensor) -> dict[str, torch.Tensor]:
    """The weights, without biases, of all variables in one row."""
    shapes = case.meta["shapes"]
    parts = flat.split([torch.Size(shape).numel() for shape in shapes])
    pairs = enumerate(zip(parts[::2], shapes[::2], strict=True))
    return {f"layer{number}.weight": part.view(shape) for number, (part, shape) in pairs}


def check_mask_criterion(case: Case):
    nearest = {"snip": "large_final", "grad": "movement"}.get(case.variant, case.variant.removesuffix("_single"))
    criterion = pruner("mask_criteria", {"criterion": nearest})
    initial = layers(case, case.arrays("w_init")[""])
    first, second = (layers(case, flat) for flat in (case.arrays("w_final")[""], case.own("w_final_round2")[""]))
    masks = {
        name: {layer: mask.bool() for layer, mask in layers(case, flat["all"]).items()}
        for name in ("mask_round1", "mask_round2", "mask_power4")
        for flat in [case.own(f"{name}/")]
    }
    all_kept = {layer: torch.ones_like(weight, dtype=torch.bool) for layer, weight in initial.items()}
    for name, final, before in (
        ("mask_round1", first, all_kept),
        ("mask_round2", second, masks["mask_round1"]),
        ("mask_power4", first, all_kept),
    ):
        session = weights_session(initial)
        session.adopt(before)
        round = Round(initial, final, before)
        session.prune(criterion.scores(round, session.rng), layer_sparsities(masks[name]))
        assert_masks_agree(case.variant, round, session, masks[name], exact=case.result["exact_mask_comparable"])


def assert_masks_agree(criterion, round, session, official, exact):
    """What is tied at the threshold is drawn at random, with us as in the authors' code."""
    if exact:
        assert_masks_equal(session, official)
        return
    for layer, mask in official.items():
        alive = round.masks[layer]
        values = preference(criterion, round.initial[layer], round.final[layer], alive, session.rng)
        lowest = values[session.masks[layer]].min()
        decided = alive & (values != lowest)
        assert torch.equal(session.masks[layer] & decided, mask & decided)
        assert session.masks[layer].sum() == mask.sum()


# ---- factorised layers -----------------------------------------------------------------------------------------------


def check_factorised(case: Case):
    dtype = torch.float64 if case.result["dtype"] == "f64" else torch.float32
    weight, bias, x = (case.own(name)[""].to(dtype) for name in ("weight", "bias", "x"))
    made = Factors(weight.shape, case.result["rank"])
    factors = [factor.requires_grad_() for factor in made.right_inverse(weight)]
    product = made(*factors)
    assert_close(unfolded(product).detach(), case.own("product")[""].to(dtype))
    assert_close(linear(x, product, bias).detach(), case.own("output")[""].to(dtype))
    (case.meta["coef"] / 2 * squared_norm(*factors)).backward()
    assert_close(squared_norm(*factors).sqrt().detach(), case.own("frobenius_norm")[""].to(dtype))
    # The factors themselves are known but for the sign of their columns.
    for factor, name in zip(factors, ("U", "VT"), strict=True):
        assert_close(factor.detach().abs(), case.own(name)[""].to(dtype).abs())
        assert_close(factor.grad.abs(), case.own(f"frobdecay_grad_{name}")[""].to(dtype).abs())


CHECKS = {
    "edgepopup": check_edge_popup,
    "edgepopup_init": check_edge_popup_initialisation,
    "maskcriteria": check_mask_criterion,
    "factorized": check_factorised,
}

NOT_COMPARABLE = {
    ("maskcriteria__deconstructing", "large_final_diff_sign_single"): "the second round keeps what the first pruned",
    ("maskcriteria__deconstructing", "snip|grad"): "a criterion by gradient, which is no criterion of mask_criteria",
    ("factorized__linear_conv", r"f\d\d\.conv0\..*"): (
        "the authors' code cuts the weights of a convolution into a matrix in another order than it reads them"
    ),
}
