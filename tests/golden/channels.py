"""Golden checks of Early-Bird (masks of channels, their distances, when they have settled) and of Taylor scores."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from golden.agreement import allowance, assert_scores_close
from golden.cases import Case, Difference
from golden.networks import Graph, examples, network_session, session_on
from lth_bench.data.examples import Batch
from lth_bench.methods.structured import scales
from lth_bench.pruning.channels import remaining, structure, thin
from lth_bench.pruning.masks import kept
from lth_bench.training.session import Session
from support.pairs import pruner


def check_early_bird(case: Case) -> None:
    queue = int(case.called_with(r"epoch_keep=(\d+)") or 5)
    early_bird = pruner("early_bird", {"compared": "newest", "queue": queue})
    official = case.own("mask/all")[""].bool()
    distances, emerged = case.value("dists"), case.value("emerged")
    for time in range(len(official)):
        masks = list(official[: time + 1])
        if distances is not None:
            ours = early_bird.distances(masks)
            full = ours if len(ours) == queue - 1 else [1.0] * (queue - 1)
            assert full == pytest.approx(distances[time].tolist(), abs=1e-12)
        if emerged is not None:
            assert early_bird.settled(masks) == bool(emerged[time])
        check_mask(case, early_bird, time, official[time])


def check_mask(case: Case, early_bird, time: int, official: Tensor) -> None:
    """The same channels stay, but that the official code may empty a layer: there, the best one stays in ours."""
    session = scaled_session(case, time)
    assert [norm_name(session, layer) for layer in scales(session)] == case.meta["bn_order"]
    session = scaled_session(case, time, sparsity_without(session, int((~official).sum())))
    mask = early_bird.mask(session)
    parts = official.split([len(scale) for scale in scales(session).values()])
    emptied = sum(not part.any() for part in parts)
    assert int((mask != official).sum()) == 2 * emptied
    assert mask.sum() == official.sum()


def sparsity_without(session: Session, count: int) -> float:
    """The sparsity that the removal of so many channels leads to."""
    whole = structure(session.model, session.weights, session.input_shape)
    weights_left = kept(thin(whole, session.masks, remaining(scales(session), count, {})))
    return 1 - sum(weights_left.values()) / sum(kept(session.masks).values())


def scaled_session(case: Case, time: int, sparsity: float = 0.5) -> Session:
    """A Session on the case's network with its scales at one time."""
    graph = Graph(case.meta["network"])
    for norm, gamma in case.arrays(f"gamma/{time}/").items():
        graph.get_submodule(norm).weight.data = gamma.clone()
    return session_on(graph, examples(case), sparsity)


def norm_name(session: Session, layer: str) -> str:
    return next(name for name, module in session.model.named_modules() if module is session.norms[layer])


def ranks_norms_of_inputs(case: Case) -> bool:
    """Whether a norm that is ranked does not directly follow a layer, as before activation in a residual block."""
    nodes = {node["id"]: node for node in case.meta["network"]["nodes"]}
    sources = [nodes[norm]["in"][0] for norm in case.meta["bn_order"]]
    return any(source == "x" or nodes[source]["op"] not in ("conv2d", "linear") for source in sources)


CRITERIA = {0: "weights", 22: "gate"}
"""What the official code numbers, by our names."""


def check_taylor(case: Case) -> None:
    """The scores of one batch and of every round, and the channels that each removes; no update comes between."""
    session = network_session(case)
    layers = {norm_name(session, layer): layer for layer in session.norms}
    criterion, momentum = CRITERIA.get(case.facts["method"], "gate"), case.facts["pruning_momentum"]
    arguments = {"criterion": criterion, "momentum": momentum, "batch_statistics": case.batch_statistics}
    taylor, official = pruner("taylor", arguments), channel_arrays(case, layers)
    names, allowed = list(official["batch_0"]), allowance(case)
    assert_scores_close(taylor.scores(session, names, [mini_batch(case, 0)]), official["batch_0"], allowed)
    scores: dict[str, Tensor] = {}
    for round in (1, 2, 3):
        found = taylor.scores(session, names, [mini_batch(case, number) for number in numbers(case, round)])
        scores = taylor.mixed(scores, found)
        assert_scores_close(scores, official[f"criterion_{round}"], allowed)
        channels = remaining(scores, round * case.facts["prune_per_iteration"], session.channels)
        assert all(torch.equal(channels[name], mask.bool()) for name, mask in official[f"mask_{round}"].items())
        if criterion == "weights":
            return  # what it removes keeps its shift, so that later layers see another input than here
        session.adopt(thin(session.topology.structure, session.masks, channels), channels)


def channel_arrays(case: Case, layers: dict[str, str]) -> dict[str, dict[str, Tensor]]:
    """The arrays of a variant by kind and layer; `layers` by the norms behind them."""
    arrays: dict[str, dict[str, Tensor]] = {}
    for name, array in case.own().items():
        kind, norm = name.split("/")
        arrays.setdefault(kind, {})[layers[norm]] = array
    return arrays


def numbers(case: Case, round: int) -> range:
    """The mini-batches of a round: one more in the first."""
    frequency = case.facts["frequency"]
    return range((round - 1) * frequency + (round > 1), round * frequency + 1)


def mini_batch(case: Case, number: int) -> Batch:
    """One of the mini-batches, which start again after the last example."""
    whole, size = examples(case), case.meta["batch_size"]
    start = number * size % len(whole.labels)
    return Batch(whole.inputs[start : start + size], whole.labels[start : start + size])


CHECKS = {"earlybird": check_early_bird, "taylor": check_taylor}
NOT_COMPARABLE = [
    Difference(
        "earlybird",
        ranks_norms_of_inputs,
        "norms that do not directly follow a layer are ranked; here, only channels that a layer puts out",
    ),
    Difference("taylor", lambda case: case.facts["method"] == 31, "leaves out the shift beside the scale"),
    Difference("taylor", lambda case: case.facts["method"] == 23, "squares example by example, not batch by batch"),
    Difference("taylor", lambda case: case.facts["method"] in (10, 11), "has second derivatives"),
    Difference(
        "taylor", lambda case: case.facts["method"] in (2, 6, 30), "one of the criteria that the paper compares with"
    ),
]
