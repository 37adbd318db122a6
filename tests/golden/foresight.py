"""Golden checks of SNIP, GraSP, SynFlow and ProsPr."""

from __future__ import annotations

import re

import torch
from torch import Tensor

from golden.agreement import CANCELLED, allowance, assert_chosen, assert_scores_close, kept, share_pruned
from golden.cases import Case, Difference, Unchecked
from golden.networks import examples, network_session
from lth_bench.data.examples import Batch
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


def normalises_by_batch(case: Case) -> bool:
    return case.batch_statistics and any(node["op"] == "batchnorm2d" for node in case.meta["network"]["nodes"])


CHECKS = {
    "snip": check_snip,
    "snip_original": check_snip,
    "grasp": check_grasp,
    "synflow": check_synflow,
    "prospr": check_prospr,
}
NOT_COMPARABLE = [Difference("synflow", normalises_by_batch, "SynFlow here uses the running statistics of batch norm")]
