"""Golden checks of GraSP and SynFlow."""

from __future__ import annotations

import torch

from golden.cases import Case, assert_masks_equal, network_session, share_pruned
from lth_bench.data.examples import Batch
from lth_bench.experiments.choices import instantiate
from lth_bench.experiments.plugins import load_plugins
from lth_bench_plugins.synflow import exponential_rounds


def check_grasp(case: Case):
    dtype = torch.float64 if ".f64" in case.variant else torch.float32
    theirs = case.variant.startswith("grasp")
    training = case.result["bn_mode"] == "train"
    arguments = {"batch_statistics": training, "parts": 2 if theirs else 1}
    grasp = instantiate(load_plugins().pruners, "grasp", arguments)
    session = network_session(case, dtype)
    whole = session._stream.data.batch(slice(None))
    parts = sorted(case.own("batch_index_").items())
    batches = [Batch(whole.inputs[index], whole.labels[index]) for _, index in parts] or grasp.cut(whole)
    scores = grasp.scores(session, batches)
    # Both divide by their sum; the authors of GraSP prune the largest.
    factor = case.own("norm_factor")[""] * (-1 if theirs else 1)
    for name, official in case.own("score/").items():
        assert_close(scores[name].double(), official.double() * factor, scores, tolerance(dtype, training))
    for mask in case.masks().values():
        chosen = network_session(case, dtype)
        chosen.prune(scores, share_pruned(mask))
        assert_masks_equal(chosen, mask)


def tolerance(dtype, training):
    """Relative to the score in float64, to the largest in float32, where batch statistics make much cancel."""
    return 1e-9 if dtype == torch.float64 else 1e-3 if training else 1e-5


def assert_close(score, official, scores, allowed):
    largest = max(float(s.abs().max()) for s in scores.values())
    if allowed == 1e-9:
        torch.testing.assert_close(score, official, rtol=allowed, atol=1e-13 * largest)
    else:
        assert (score - official).abs().max() <= allowed * largest


def check_synflow(case: Case):
    dtype = torch.float64 if ".f64" in case.variant else torch.float32
    session, masks = network_session(case, dtype), case.masks()
    size = sum(mask.numel() for mask in session.masks.values())
    kept = case.own("kept_per_iteration").get("", [round((1 - share_pruned(masks["mask_c2"])) * size)])
    synflow = instantiate(load_plugins().pruners, "synflow", {"rounds": len(kept)})
    for number, (count, target) in enumerate(zip(kept, exponential_rounds(0.99, len(kept)), strict=True), 1):
        assert abs(int(count) - (1 - target) * size) < 1
        scores = synflow.scores(session)
        for name, official in case.own(f"score_iter{number}/").items():
            assert_close(scores[name], official.double(), scores, 1e-9 if dtype == torch.float64 else 1e-5)
        session.prune(scores, 1 - int(count) / size)
        if f"mask_iter{number}" in masks:
            assert_masks_equal(session, masks[f"mask_iter{number}"])
    assert_masks_equal(session, masks["mask_c2"])


CHECKS = {"grasp": check_grasp, "synflow": check_synflow}

NOT_COMPARABLE: dict[tuple[str, str], str] = {}
