"""Golden checks of schedules: the share of weights that is exchanged, and sparsity that rises during training."""

from __future__ import annotations

import re

import pytest

from golden.cases import Case, Difference, Unchecked
from golden.networks import weights_session
from lth_bench.methods.rounds import uniform_rounds
from lth_bench.methods.scores import magnitude
from lth_bench.methods.sparse_training import Annealing, GradualPruning, annealed
from support.pairs import pruner

POWERS: dict[str, Annealing] = {"1": "linear", "3": "cubic"}


def check_schedule(case: Case) -> None:
    if "GMP" in case.function:
        check_itop_gmp(case)
    elif case.value("sparsity") is not None:
        check_polynomial(case)
    else:
        check_annealing(case)


def check_annealing(case: Case) -> None:
    """Ours begins at step 0; that of another beginning is the same, moved."""
    value, end = fact(case, "initial", "death_rate", "alpha", "init"), fact(case, "end_step", "T_max", "T_end", "end")
    begin, how = case.facts.get("begin_step", 0), annealing(case)
    official = case.own("value")[""].tolist()
    steps = range(len(official)) if case.value("step") is None else case.own("step")[""].tolist()
    if case.by("Shiweiliuiiiiiii/"):
        itop = pruner("itop", {"drop_fraction": value})
        assert [itop.fraction(step, end) for step in steps] == pytest.approx(official, abs=1e-12)
        return
    # In google-research/rigl, cosine annealing lasts from the beginning to the end, but starts at step 0.
    moved = 0 if how == "cosine" else begin
    pairs = [pair for pair in zip(steps, official, strict=True) if how == "cosine" or begin <= pair[0] <= end]
    ours = [annealed(value, how, step - moved, end - begin) for step, _ in pairs]
    assert ours == pytest.approx([number for _, number in pairs], abs=1e-7)


def annealing(case: Case) -> Annealing:
    """How a value falls, by the official function or else by the last word of the variant."""
    words = f"{case.function} {case.variant.split('.')[-1]}".lower()
    if "cosine" in words:
        return "cosine"
    if exponent := re.search(r"exponential_(\d+)", words):
        if exponent[1] not in POWERS:
            raise Unchecked(f"nothing is annealed by a power of {exponent[1]} here; known: {', '.join(POWERS)}")
        return POWERS[exponent[1]]
    if "constant" in words:
        return "constant"
    raise Unchecked(f"neither {case.function!r} nor {case.variant!r} says how the value falls")


def fact(case: Case, *names: str) -> float:
    """The fact that the official codes call by one of these names."""
    return next(case.facts[name] for name in names if name in case.facts)


def check_polynomial(case: Case) -> None:
    schedule = GradualPruning(
        fact(case, "start", "begin"),
        fact(case, "end"),
        fact(case, "update_freq", "frequency"),
        case.facts.get("initial", 0.0),
        fact(case, "target", "final"),
    )
    steps = case.own("step")[""].tolist()
    jaxpruner = case.by("google-research/jaxpruner")
    # jaxpruner's step is the one that is done.
    ours = [schedule.sparsity(step + jaxpruner) for step in steps]
    assert ours == pytest.approx(case.own("sparsity")[""].tolist(), abs=1e-6)
    check_due(case, schedule, origin=0 if jaxpruner else schedule.begin)


def check_due(case: Case, schedule: GradualPruning, origin: int) -> None:
    """Both prune at every so many steps, counted from `origin`; ours from the beginning, and at the end in any case."""
    updates = case.value("is_update")
    if updates is None or (schedule.begin - origin) % schedule.every:
        return
    pairs = zip(case.own("step")[""].tolist(), updates.tolist(), strict=True)
    known, official = zip(*pairs, strict=True)
    due = {step for step in (schedule.begin, *schedule.steps) if (step - origin) % schedule.every == 0}
    assert [step for step in known if step in due] == [step for step, now in zip(known, official, strict=True) if now]


def check_itop_gmp(case: Case) -> None:
    """ITOP rounds the number of kept weights up, and gradual pruning here to the nearest, as its authors."""
    weights, masks, order = case.own("w/"), case.masks, case.facts["layer_order"]
    first, last = (
        case.facts[name] * case.facts.get("multiplier", 1) for name in ("init_prune_epoch", "final_prune_epoch")
    )
    # Its schedule is as long as if pruning ended one epoch later.
    schedule = GradualPruning(first, last + 1, 1, 0.0, 1 - case.facts["final_density"])
    shapes = {name: tuple(weights[name].shape) for name in order}
    rounds = uniform_rounds(shapes, [schedule.sparsity(epoch) for epoch in range(first, last + 2)])
    session = weights_session(weights)
    for epoch, sparsities in zip(range(first, last + 1), rounds, strict=False):
        session.prune(magnitude(session), sparsities)
        kept = [int(session.masks[name].count_nonzero()) for name in shapes]
        if (counts := case.value("kept_per_epoch")) is not None:
            assert all(more - count in (0, 1) for count, more in zip(kept, counts[epoch].tolist(), strict=True)), epoch
        for name, mask in masks.get(f"mask_epoch{epoch}", {}).items():
            ours = session.masks[name]
            assert (ours & ~mask).count_nonzero() == 0 and (mask & ~ours).count_nonzero() <= 1, (name, epoch)


def has_another_power(case: Case) -> bool:
    return case.facts.get("power", 3) != 3


CHECKS = {"gmp_jax": check_schedule, "gmp_tfmot": check_schedule}
NOT_COMPARABLE = [
    Difference("gmp_jax", has_another_power, "gradual pruning here is cubic, as in its paper"),
    Difference("gmp_tfmot", has_another_power, "gradual pruning here is cubic, as in its paper"),
]
