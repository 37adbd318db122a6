"""Golden checks of SNIP, magnitude pruning and IMP."""

from __future__ import annotations

import torch

from golden.cases import (
    RECIPE,
    Case,
    Weights,
    assert_masks_equal,
    layer_sparsities,
    network_session,
    share_pruned,
    weights_session,
)
from lth_bench.data.examples import Batch, Examples
from lth_bench.experiments.choices import instantiate
from lth_bench.experiments.plugins import load_plugins
from lth_bench.methods.scores import magnitude
from lth_bench.training.session import Session, Setup


def check_snip(case: Case):
    dtype = torch.float64 if ".f64" in case.variant else torch.float32
    session = network_session(case, dtype)
    snip = instantiate(load_plugins().pruners, "snip", {"batch_statistics": case.result.get("bn_mode") == "train"})
    whole = session._stream.data.batch(slice(None))
    parts = sorted(case.own("batch_index_").items()) or [("", slice(None))]
    batches = [Batch(whole.inputs[index], whole.labels[index]) for _, index in parts]
    scores = snip.scores(session, batches)
    # The official code may score biases as well; ours sum to 1 over the weights.
    official = {name: case.own("score/")[name].to(dtype) for name in scores}
    total = sum(score.sum() for score in official.values())
    for name, score in scores.items():
        expected = official[name] / total
        if dtype == torch.float64:
            torch.testing.assert_close(score, expected, rtol=1e-9, atol=1e-15)
        else:
            assert (score - expected).abs().max() <= 1e-5 * max(float(s.max()) for s in scores.values())
    for mask in case.masks().values():
        chosen = network_session(case, dtype)
        chosen.prune(scores, share_pruned(mask))
        assert_masks_equal(chosen, mask)


def check_magnitude(case: Case):
    weights = case.own("w/") or {name: w for name, w in case.arrays("param/").items() if w.ndim > 1}
    for name, mask in case.masks().items():
        session = weights_session(weights)
        per_layer = "local" in case.variant or "local" in name
        session.prune(magnitude(session), layer_sparsities(mask) if per_layer else share_pruned(mask))
        assert_masks_equal(session, mask)


class Sloped(Weights):
    """A network whose loss has given gradients, up to a positive factor that all of them share."""

    def __init__(self, weights, gradients):
        super().__init__(weights)
        self.gradients = gradients

    def forward(self, x):
        slope = sum((weight * self.gradients[name]).sum() for name, weight in self.named_parameters())
        return torch.stack([slope.new_zeros(()), slope]).expand(len(x), 2)


def sensitivities(case: Case):
    """SNIP's scores in a network with the case's weights and gradients."""
    weights, gradients = ({name: w.double() for name, w in case.arrays(part).items()} for part in ("w/", "grad/"))
    data = Examples(torch.zeros(1, 1), torch.zeros(1, dtype=torch.int64))
    session = Session(Setup(lambda seed: Sloped(weights, gradients).double(), data, data, RECIPE, 0.5, 0))
    return instantiate(load_plugins().pruners, "snip", {"examples": 1}).scores(session, [session.sample(1)])


def check_magnitude_jax(case: Case):
    session = weights_session(case.arrays("w/"))
    scores = sensitivities(case) if "saliency" in case.variant else magnitude(session)
    if case.result.get("use_normalization"):  # jaxpruner's convention; no plugin here has it
        scores = {name: score / score.norm() for name, score in scores.items()}
    (mask,) = case.masks().values()
    session.prune(scores, share_pruned(mask) if "global" in case.variant else layer_sparsities(mask))
    assert_masks_equal(session, mask)


def check_imp(case: Case):
    rounds = [
        (case.own(f"w_trained_{i}/"), {k: m.bool() for k, m in case.own(f"mask_{i}/").items()}) for i in (1, 2, 3)
    ]
    session = weights_session(rounds[0][0])
    for trained, mask in rounds:
        for name, weight in session.weights.items():
            weight.data.copy_(trained[name])
        ignored = case.result.get("pruning_layers_to_ignore")
        session.prune(magnitude(session), layer_sparsities(mask) if ignored else share_pruned(mask))
        assert_masks_equal(session, mask)


CHECKS = {
    "snip": check_snip,
    "snip_original": check_snip,
    "magnitude": check_magnitude,
    "magnitude_jax": check_magnitude_jax,
    "imp": check_imp,
}

NOT_COMPARABLE: dict[tuple[str, str], str] = {}
