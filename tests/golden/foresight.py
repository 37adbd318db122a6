"""Golden checks of SNIP, GraSP, SynFlow, ProsPr, NTK-SAP and PHEW."""

from __future__ import annotations

import re
from collections.abc import Iterator

import torch
from torch import Tensor

from golden.agreement import (
    CANCELLED,
    allowance,
    assert_chosen,
    assert_close,
    assert_masks_equal,
    assert_scores_close,
    kept,
    share_pruned,
)
from golden.cases import Case, Difference, Unchecked
from golden.networks import examples, network_session
from lth_bench.data.examples import Batch
from lth_bench.models.modes import tracking_norms
from lth_bench.pruning.wiring import wiring
from lth_bench.training.session import Session
from lth_bench_plugins.phew import Map
from lth_bench_plugins.synflow import kept_counts
from support.pairs import pruner


def check_snip(case: Case) -> None:
    session = network_session(case)
    snip = pruner("snip", {"batch_statistics": case.batch_statistics})
    scores = snip.scores(session, batches(case) or [examples(case)])
    # The official code may score biases as well; ours sum to 1 over the weights.
    official = {name: score for name, score in case.own("score/").items() if name in scores}
    total = sum(score.to(case.dtype).sum() for score in official.values())
    assert_scores_close(scores, {name: score / total for name, score in official.items()}, allowance(case))
    check_choices(case, scores, allowance(case))


def batches(case: Case) -> list[Batch]:
    """The batches of a case that has several."""
    whole = examples(case)
    parts = sorted(case.own("batch_index_").items())
    return [Batch(whole.inputs[index], whole.labels[index]) for _, index in parts]


def check_choices(case: Case, scores: dict[str, Tensor], allowed: float) -> None:
    for mask in case.masks.values():
        session = network_session(case)
        session.prune(scores, share_pruned(mask))
        assert_chosen(session, mask, scores, allowed)


def check_grasp(case: Case) -> None:
    """The authors of GraSP cut their batch, which is sorted by class, in two, and prune the largest scores."""
    authors = case.by("alecwangcq/")
    allowed = CANCELLED if case.batch_statistics and case.dtype == torch.float32 else allowance(case)
    grasp = pruner("grasp", {"batch_statistics": case.batch_statistics, "parts": 2 if authors else 1})
    parts = batches(case) or grasp.cut(by_class(case) if authors else examples(case))
    scores = grasp.scores(network_session(case), parts)
    factor = case.value("norm_factor")
    if factor is None:  # both codes divide by their sum
        factor = abs(sum(score.double().sum() for score in scores.values())) + 1e-10
    official = {name: score.double() * factor * (-1 if authors else 1) for name, score in case.own("score/").items()}
    assert_scores_close(scores, official, allowed)
    check_choices(case, scores, allowed)


def by_class(case: Case) -> Batch:
    batch = examples(case)
    order = batch.labels.argsort(stable=True)
    return Batch(batch.inputs[order], batch.labels[order])


def check_synflow(case: Case) -> None:
    first = pruner("synflow", {}).scores(network_session(case))
    assert_scores_close(first, case.own("score_iter1/"), allowance(case))
    for name, mask in case.masks.items():
        if "iter" not in name:
            check_synflow_rounds(case, target_of(name), mask)


def check_synflow_rounds(case: Case, target: float, official: dict[str, Tensor]) -> None:
    """All rounds up to a target, which the official code rounds up in the last one too."""
    session, masks, allowed = network_session(case), case.masks, allowance(case)
    size, rounds = sum(mask.numel() for mask in session.masks.values()), rounds_of(case)
    synflow = pruner("synflow", {"rounds": rounds})
    *earlier, last = kept_counts(target, size, rounds)
    assert kept(official) - last in (0, 1)
    for number, count in enumerate([*earlier, kept(official)], 1):
        scores = synflow.scores(session)
        assert_scores_close(scores, case.own(f"score_iter{number}/"), allowed)
        session.prune(scores, 1 - count / size)
        if mask := masks.get(f"mask_iter{number}"):
            assert_chosen(session, mask, scores, allowed)
    assert_chosen(session, official, scores, allowed)
    counts = case.value("kept_per_iteration")
    if counts is not None and counts[-1] == kept(official):
        assert [*earlier, kept(official)] == counts.tolist()


def target_of(mask: str) -> float:
    """The sparsity that the name of a mask says: `mask_s90` and `mask_c1` are both 0.9."""
    if not (parts := re.fullmatch(r"mask_([sc])([\d.]+)", mask)):
        raise Unchecked(f"the name of {mask} says no target, unlike mask_s90 or mask_c2")
    return float(parts[2]) / 100 if parts[1] == "s" else 1 - 10 ** -float(parts[2])


def rounds_of(case: Case) -> int:
    counts = case.value("kept_per_iteration")
    return int(case.called_with(r"epochs=(\d+)") or (1 if counts is None else len(counts)))


def check_prospr(case: Case) -> None:
    """The official code may score channels; the gradient of a channel's connection is the sum of its weights'."""
    facts, whole, size = case.facts, examples(case), case.meta["batch_size"]
    prospr = pruner(
        "prospr",
        {
            "steps": facts["num_steps"],
            "learning_rate": facts["inner_lr"],
            "momentum": facts["inner_momentum"],
            "gradients": facts["method"],
        },
    )
    starts = [size * number * facts["new_data_in_inner"] for number in range(prospr.steps + 1)]
    parts = [Batch(whole.inputs[start : start + size], whole.labels[start : start + size]) for start in starts]
    session, official = network_session(case), case.own("score/")
    if "structured=True" in case.function:
        gradients = prospr.meta_gradients(session, parts)
        scores = {name: gradients[name].flatten(1).sum(1).abs() for name in official}
        assert_scores_close(scores, {name: score.flatten() for name, score in official.items()}, allowance(case))
        return
    scores = prospr.scores(session, parts)
    assert_scores_close(scores, official, allowance(case))
    check_choices(case, scores, allowance(case))


def check_ntk_sap(case: Case) -> None:
    """On the draws of the official code: in rounds, one for each, under the official mask of the round before."""
    session, ntk_sap = network_session(case), pruner("ntk_sap", {"epsilon": case.facts["epsilon"]})
    in_rounds = "rounds" in case.facts
    numbers = [[number] for number in range(case.facts["rounds"])] if in_rounds else [case.facts["draws"]]
    masks, allowed = list(case.masks.values()), allowance(case)
    for number, (draws, mask) in enumerate(zip(numbers, masks, strict=True), 1):
        scores = ntk_sap.scores(session, given_draws(case, session, draws))
        assert_scores_close(scores, case.own(f"score_{number}/" if in_rounds else "score/"), allowed)
        session.prune(scores, share_pruned(mask))
        assert_chosen(session, mask, scores, allowed)


def given_draws(case: Case, session: Session, numbers: list[int]) -> Iterator[tuple[Tensor, dict[str, Tensor]]]:
    """The recorded draws, in the order of their numbers; the official code resets batch norm too, but no biases."""
    for number in numbers:
        with torch.no_grad():
            for name, value in case.arrays(f"init/{number}/").items():
                session.weights[name].copy_(value * session.masks[name])
        for norm in tracking_norms(session.model):
            norm.reset_parameters()
        noise = case.arrays(f"noise_w/{number}/").items()
        inputs = case.arrays(f"noise_x/{number}")[""].to(case.dtype)
        yield inputs, {name: value.to(case.dtype) for name, value in noise}


def check_phew(case: Case) -> None:
    """The official walks draw the same numbers; they stop behind a walk, so that ours end at their count."""
    session = network_session(case)
    if not case.masks:
        found = Map(session.weights, wiring(session.topology.structure))
        for table, ours in (("forward", found.forward), ("backward", found.backward)):
            for name, official in case.own(f"{table}/").items():
                assert_close(torch.from_numpy(ours[name]), official.cumsum(1), allowance(case))
        return
    session.sparsity = share_pruned(case.mask)
    phew = pruner("phew", {"kernels": case.facts["kernel_conserved"]})
    session.prune(phew.scores(session, iter(case.arrays("uniforms")[""].tolist())))
    assert_masks_equal(session, case.mask)


def normalises_by_batch(case: Case) -> bool:
    return case.batch_statistics and any(node["op"] == "batchnorm2d" for node in case.meta["network"]["nodes"])


CHECKS = {
    "snip": check_snip,
    "snip_original": check_snip,
    "grasp": check_grasp,
    "synflow": check_synflow,
    "prospr": check_prospr,
    "ntk_sap": check_ntk_sap,
    "phew": check_phew,
}
NOT_COMPARABLE = [Difference("synflow", normalises_by_batch, "SynFlow here uses the running statistics of batch norm")]
