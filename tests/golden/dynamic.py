"""Golden checks of dynamic sparse training and gradual pruning: layer densities, schedules, updates."""

from __future__ import annotations

import pytest
import torch

from golden.cases import RECIPE, Case, Weights, assert_masks_equal, weights_session
from lth_bench.data.examples import Examples
from lth_bench.experiments.choices import instantiate
from lth_bench.experiments.plugins import load_plugins
from lth_bench.methods.rounds import uniform_rounds
from lth_bench.methods.scores import magnitude
from lth_bench.methods.sparse_training import GradualPruning, annealed, dropped, exchanged, grown
from lth_bench.pruning.allocation import er, er_densities, erk, erk_densities, first_dense, kept_count
from lth_bench.training.session import Session, Setup

DENSITIES = {"erdos_renyi": er_densities, "erdos_renyi_kernel": erk_densities}
SPREADS = {"erdos_renyi": er, "erdos_renyi_kernel": erk}

# Other codes than ITOP's round each layer's pruned weights down, also while they solve for the scale.
ROUNDED = {"resnet50": 1e-4, "convres_w8": 1e-2}


def check_densities(case: Case):
    model, sparsity = case.result["model"], case.result["sparsity"]
    known = case.meta.get("shapes") or case.meta["shapes_torch"]
    shapes = {name: tuple(shape) for name, shape in known[model].items()}
    method = case.result.get("method", "erdos_renyi_kernel")
    tolerance = 1e-9 if case.variant.startswith("itop") else ROUNDED[model]
    if "first_dense" in case.variant:
        check_first_dense(case, shapes, sparsity)
        return
    densities = DENSITIES[method](shapes, sparsity)
    assert in_order(case, densities) == pytest.approx(official_densities(case).tolist(), rel=tolerance)
    if official := case.own("layer_nnz"):
        counts = kept_counts(shapes, SPREADS[method](shapes, sparsity))
        assert in_order(case, counts) == pytest.approx(official[""].tolist(), abs=3)


def check_first_dense(case, shapes, sparsity):
    """There the layer is left out of the total that is to be met: its sparsity is that of the others."""
    first, *_ = shapes
    sizes = {name: torch.Size(shape).numel() for name, shape in shapes.items()}
    total = sum(sizes.values())
    counts = kept_counts(shapes, first_dense(erk, shapes, sparsity * (total - sizes[first]) / total))
    official = official_densities(case) * torch.tensor(in_order(case, sizes))
    assert in_order(case, counts) == pytest.approx(official.tolist(), abs=3)
    assert counts[first] == sizes[first]


def kept_counts(shapes, sparsities):
    return {name: kept_count(sparsities[name], torch.Size(shape).numel()) for name, shape in shapes.items()}


def official_densities(case):
    sparsity = case.own("layer_sparsity")
    return 1 - sparsity[""] if sparsity else case.own("layer_density")[""]


def in_order(case, ours):
    return [ours[name] for name in case.result.get("layer_order", list(ours))]


class Silent(Weights):
    """Weights that are never read."""

    def forward(self, x):
        return torch.zeros(len(x), 2)


def check_update(case: Case):
    session = masked_session(case)
    for _ in session.batches():
        session.rewire(updated(case, session))
    assert_masks_equal(session, case.masks()["mask"])
    for name, weight in case.own("w_after/").items():
        # Some codes leave values where the mask has a zero.
        assert torch.equal(session.weights[name], weight * session.masks[name]), name


def masked_session(case):
    weights, data = case.arrays("w/"), Examples(torch.zeros(1, 1), torch.zeros(1, dtype=torch.int64))
    session = Session(Setup(lambda seed: Silent(weights), data, data, RECIPE, 0.5, 0))
    session.adopt({name: mask.bool() for name, mask in case.arrays("mask_in/").items()})
    return session


def updated(case, session):
    """New masks by the plugins' own functions, at the number of weights that the official code drops."""
    fraction = case.result["drop_fraction"]
    growth = {name: gradient.abs() for name, gradient in case.arrays("grad/").items()}
    if case.variant.startswith("set_tf1"):
        plugin = instantiate(load_plugins().pruners, "set", {"drop": "magnitude"})
        return plugin.masks(session, case.arrays("rand/"), fraction)
    if case.variant.startswith("itop"):
        return itop_update(case, session, growth)
    if case.family == "dst_jax":
        kept = {name: int(mask.count_nonzero()) for name, mask in session.masks.items()}
        counts = {name: count - round(count * (1 - fraction)) for name, count in kept.items()}
        return exchanged_by_count(session, magnitude(session), growth, counts)
    return exchanged(session, growth, fraction)


def itop_update(case, session, growth):
    _, death, how, _ = case.variant.split(".", 3)
    counts = dict(zip(session.masks, case.own("num_removed")[""].tolist(), strict=True))
    importance = magnitude(session)
    if death == "Taylor_FO":
        importance = {name: (session.weights[name].detach() * growth[name]) ** 2 for name in growth}
    return exchanged_by_count(session, importance, case.arrays("rand/") if how == "random" else growth, counts)


def exchanged_by_count(session, importance, growth, counts):
    return {
        name: grown(dropped(mask, importance[name], counts[name]), growth[name], counts[name])
        for name, mask in session.masks.items()
    }


def check_schedule(case: Case):
    if "gmp" in case.variant:
        check_itop_gmp(case)
    elif case.variant.startswith("poly"):
        check_polynomial(case)
    else:
        check_annealing(case)


def check_annealing(case):
    how = {"constant": "constant", "exponential_3": "cubic"}.get(case.variant.split(".")[-1], "cosine")
    known = ("initial", "death_rate", "alpha", "init"), ("end_step", "T_max", "T_end", "end")
    value, end = (next(case.result[name] for name in names if name in case.result) for names in known)
    official = case.own("value")[""].tolist()
    ours = [annealed(value, how, step, end) for step in range(len(official))]
    assert ours == pytest.approx(official, abs=1e-7)


def check_polynomial(case):
    facts, steps = case.result, case.own("step")[""].tolist()
    jax = case.family == "gmp_jax"
    begin, end = facts["start" if jax else "begin"], facts["end"]
    every, final = facts["update_freq" if jax else "frequency"], facts["target" if jax else "final"]
    schedule = GradualPruning(begin, end, every, facts.get("initial", 0.0), final)
    # jaxpruner's step is the one that is done.
    ours = [schedule.sparsity(step + jax) if step >= begin else schedule.initial for step in steps]
    assert ours == pytest.approx(case.own("sparsity")[""].tolist(), abs=1e-6)
    due = [step for step, update in zip(steps, case.own("is_update")[""].tolist(), strict=True) if update]
    assert [begin, *schedule.steps] == due


def check_itop_gmp(case):
    weights = case.own("w/")
    first, last = case.result["init_prune_epoch"], case.result["final_prune_epoch"]
    # Its schedule is as long as if pruning ended one epoch later.
    schedule = GradualPruning(first, last + 1, 1, 0.0, 1 - case.result["final_density"])
    shapes = {name: tuple(weights[name].shape) for name in case.result["layer_order"]}
    rounds = uniform_rounds(shapes, [schedule.sparsity(epoch) for epoch in range(first, last + 2)])
    session, masks = weights_session(weights), case.masks()
    for epoch, sparsities in zip(range(first, last + 1), rounds, strict=False):
        session.prune(magnitude(session), sparsities)
        kept = [int(session.masks[name].count_nonzero()) for name in shapes]
        assert kept == case.own("kept_per_epoch")[""][epoch].tolist(), epoch
        if mask := masks.get(f"mask_epoch{epoch}"):
            assert_masks_equal(session, mask)


def check_dynamic(case: Case):
    (check_schedule if case.path.stem.endswith("schedules") else check_update)(case)


CHECKS = {
    "erk_torch": check_densities,
    "erk_jax": check_densities,
    "erk_tf": check_densities,
    "dst_tf": check_dynamic,
    "dst_torch": check_dynamic,
    "dst_jax": check_update,
    "gmp_jax": check_schedule,
    "gmp_tfmot": check_schedule,
}

NOT_COMPARABLE: dict[tuple[str, str], str] = {
    ("erk_tf__densities", r".*\.pow0\.5"): "no plugin here raises Erdős-Rényi's densities to a power",
    ("dst_torch__schedules", r"itop\.cosine"): "the drop fraction ends at 0.005, in the paper at zero",
    ("dst_torch__update", r"itop\.magnitude\.random\..*"): (
        "every pruned weight is grown with a probability, so that the number of weights holds on average only"
    ),
    ("dst_torch__update", r"itop\.SET\..*"): (
        "all but the largest negative weights are dropped, whatever the fraction; and growth is as above"
    ),
}
