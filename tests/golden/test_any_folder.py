"""A folder may hold cases of other networks, schedules and families: a made-up one, by plain formulas."""

from __future__ import annotations

import json
import math
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path

import numpy as np
import pytest
import torch
from torch.nn import functional

from golden.agreement import EXACT, ROUNDED, assert_chosen
from golden.cases import FolderFault, Unchecked, read_cases
from golden.checks import judge
from golden.networks import weights_session

CONV = {"op": "conv2d", "in_channels": 2, "out_channels": 6, "kernel_size": [5, 3], "stride": 2, "padding": [2, 1]}
NODES = [
    {"id": "stem.conv", "in": ["x"], **CONV, "groups": 1, "bias": False},
    {"id": "stem.norm", "op": "batchnorm2d", "in": ["stem.conv"], "num_features": 6, "eps": 1e-5, "affine": False},
    {"id": "stem.act", "op": "relu", "in": ["stem.norm"]},
    {"id": "stem.pool", "op": "max_pool2d", "in": ["stem.act"], "kernel_size": 2},
    {"id": "flat", "op": "flatten", "in": ["stem.pool"]},
    {"id": "blocks.0.fc", "op": "linear", "in": ["flat"], "in_features": 24, "out_features": 3, "bias": True},
]
NETWORK = {"name": "tiny", "input_shape": [2, 8, 8], "classes": 3, "output": "blocks.0.fc", "nodes": NODES}
SYNAPTIC_FLOW, GRASP, ITOP = "ganguli-lab/Synaptic-Flow", "alecwangcq/GraSP", "Shiweiliuiiiiiii/x"
RIGL, JAXPRUNER, TFMOT = "google-research/rigl", "google-research/jaxpruner", "tensorflow/model-optimization"


@pytest.fixture
def write(tmp_path):
    """Writes one variant `a` of one file; returns its case."""

    def written(stem, facts, own, inputs=None, **meta):
        results = {f"res/a/{name}": value for name, value in own.items()}
        arrays = {name: np.asarray(value) for name, value in {**results, **(inputs or {})}.items()}
        np.savez(tmp_path / f"{stem}.npz", **arrays)
        (tmp_path / f"{stem}.json").write_text(json.dumps({"results": {"a": facts}, **meta}))
        return next(case for case in read_cases(tmp_path) if case.path.stem == stem)

    return written


def inputs():
    """The made-up network's weights and examples; the labels are in no order."""
    draw = torch.Generator().manual_seed(0)
    shapes = {"stem.conv.weight": (6, 2, 5, 3), "blocks.0.fc.weight": (3, 24), "blocks.0.fc.bias": (3,)}
    values = {f"param/{name}": torch.randn(shape, generator=draw) / 3 for name, shape in shapes.items()}
    values["buffer/stem.norm.running_mean"] = torch.randn(6, generator=draw)
    values["buffer/stem.norm.running_var"] = torch.rand(6, generator=draw) + 0.5
    return {**values, "x": torch.randn(8, 2, 8, 8, generator=draw), "y": torch.tensor([2, 0, 1, 0, 2, 1, 0, 1])}


class Plain:
    """The made-up network in plain functions, in float64."""

    def __init__(self, values):
        values = {name: value.double() if value.is_floating_point() else value for name, value in values.items()}
        self.x, self.y = values["x"], values["y"]
        self.weights = [values[f"param/{name}.weight"].requires_grad_() for name in ("stem.conv", "blocks.0.fc")]
        self.bias = values["param/blocks.0.fc.bias"]
        self.norm = [values[f"buffer/stem.norm.running_{name}"] for name in ("mean", "var")]

    def logits(self, x, training=False):
        hidden = functional.conv2d(x, self.weights[0], stride=2, padding=(2, 1))
        hidden = functional.batch_norm(hidden, *(value.clone() for value in self.norm), training=training)
        return functional.linear(functional.max_pool2d(hidden.relu(), 2).flatten(1), self.weights[1], self.bias)

    def named(self, tensors):
        return dict(zip(("stem.conv.weight", "blocks.0.fc.weight"), tensors, strict=True))


def snip(values, training=False):
    plain = Plain(values)
    functional.cross_entropy(plain.logits(plain.x, training), plain.y).backward()
    return plain.named([(weight.grad * weight).detach().abs() for weight in plain.weights])


def grasp(values, order, training):
    """-θ · Hg / |sum| of two halves of the examples in an order, logits divided by 200."""
    plain = Plain(values)
    halves = [(plain.x[part], plain.y[part]) for part in order.chunk(2)]
    losses = [functional.cross_entropy(plain.logits(x, training) / 200, y) for x, y in halves]
    gradients = torch.autograd.grad(sum(losses), plain.weights, create_graph=True)
    flow = sum((gradient * gradient.detach()).sum() for gradient in gradients)
    products = torch.autograd.grad(flow, plain.weights)
    raw = [-weight.detach() * product for weight, product in zip(plain.weights, products, strict=True)]
    return plain.named([score / (abs(sum(score.sum() for score in raw)) + 1e-10) for score in raw])


def highest(scores, count):
    """Masks of so many weights with the highest scores."""
    threshold = torch.cat([score.flatten() for score in scores.values()]).sort(descending=True).values[count - 1]
    return {name: (score >= threshold).byte() for name, score in scores.items()}


def relative(squares):
    """Each square by the sum of those of its layer that are not smaller."""
    return squares / torch.stack([squares[squares >= square].sum() for square in squares.flatten()]).view_as(squares)


def below(prefix, tensors):
    return {f"{prefix}/{name}": tensor for name, tensor in tensors.items()}


@pytest.mark.parametrize("mode", ["eval", "train"])
def test_another_network_with_dotted_ids_a_wide_kernel_and_a_norm_without_scales(write, mode):
    values = inputs()
    scores = snip(values, mode == "train")
    own = below("score", scores) | below("mask_s75", highest(scores, 63))
    checked = {f"check/logits_f64.{mode}": Plain(values).logits(values["x"].double(), mode == "train").detach()}
    judge(write("snip__tiny", {"dtype": "f64", "bn_mode": mode}, own, values | checked, network=NETWORK))
    if mode == "train":
        with pytest.raises(AssertionError):
            judge(write("snip__other", {"dtype": "f64", "bn_mode": "eval"}, own, values, network=NETWORK))


def test_masks_alone_are_a_case(write):
    values = inputs()
    own, facts = below("mask_s75", highest(snip(values), 63)), {"dtype": "f32", "bn_mode": "eval"}
    judge(write("snip__masks", facts, own, values, network=NETWORK))
    own = below("mask_s75", highest(snip(values, training=True), 63))
    with pytest.raises(AssertionError):
        judge(write("snip__wrong", facts, own, values, network=NETWORK))


def test_the_dtype_of_a_case_decides_how_near_its_numbers_have_to_be(write):
    values = inputs()
    scores = {name: score * (1 + 1e-6 * (name == "stem.conv.weight")) for name, score in snip(values).items()}
    judge(write("snip__f32", {"dtype": "f32"}, below("score", scores), values, network=NETWORK))
    with pytest.raises(AssertionError):
        judge(write("snip__f64", {"dtype": "f64"}, below("score", scores), values, network=NETWORK))


def test_float32_may_exchange_weights_whose_scores_rounding_does_not_tell_apart():
    scores = {"a.weight": torch.tensor([[1.0, 2.0, 3.0, 3.00001]])}
    session = weights_session(scores)
    session.prune(scores, 0.75)
    near, far = ({"a.weight": torch.tensor([kept]).bool()} for kept in ([0, 0, 1, 0], [0, 1, 0, 0]))
    assert_chosen(session, near, scores, ROUNDED)
    for official, allowed in ((far, ROUNDED), (near, EXACT)):
        with pytest.raises(AssertionError):
            assert_chosen(session, official, scores, allowed)


def test_grasp_sorts_by_class_and_needs_no_factor(write):
    values = inputs()
    scores = grasp(values, values["y"].argsort(stable=True), training=True)
    facts = {"repo": GRASP, "dtype": "f64", "bn_mode": "train"}
    mask = {name: 1 - kept for name, kept in highest(scores, 189).items()}
    own = below("score", scores) | below("mask_s75", mask)
    judge(write("grasp__tiny", facts, own, values, network=NETWORK))
    in_another_order = below("score", grasp(values, torch.arange(8), training=True))
    with pytest.raises(AssertionError):
        judge(write("grasp__order", facts, in_another_order, values, network=NETWORK))


def test_synflow_in_one_round_and_with_batch_statistics(write):
    values = inputs()
    plain = Plain({name: value.abs() for name, value in values.items()})
    plain.logits(torch.ones(1, 2, 8, 8, dtype=torch.float64)).sum().backward()
    scores = plain.named([(weight.grad * weight).detach() for weight in plain.weights])
    facts = {"repo": SYNAPTIC_FLOW, "function": "prune_loop(epochs=1)", "dtype": "f64", "bn_mode": "eval"}
    judge(write("synflow__tiny", facts, below("mask_s75", highest(scores, 63)), values, network=NETWORK))
    other = below("mask_s75", highest(snip(values), 63))
    with pytest.raises(Unchecked, match="running statistics"):
        judge(write("synflow__train", facts | {"bn_mode": "train"}, other, values, network=NETWORK))


@pytest.mark.parametrize("scope", ["global", "local"])
def test_magnitude_by_the_scope_of_the_call(write, scope):
    weights = {"a.0.weight": torch.randn(4, 3, 7, 7), "b.weight": torch.randn(5, 8) * 2}
    sizes = {name: weight.abs() for name, weight in weights.items()}
    each = {name: highest({name: size}, size.numel() // 2)[name] for name, size in sizes.items()}
    masks = highest(sizes, 314) if scope == "global" else each
    facts = {"function": f"Mag, scope={scope}", "dtype": "f32"}
    judge(write("magnitude__wide", facts, below("mask_s50", masks), below("param", weights)))


def test_lamp_over_rounds_of_another_network(write):
    values = inputs()
    plain = Plain(values)
    scores = plain.named([relative(weight.detach().square()) for weight in plain.weights])
    own = below("score", scores) | below("mask_1", highest(scores, 126)) | below("mask_2", highest(scores, 63))
    judge(write("lamp__tiny", {"dtype": "f64"}, own, values, network=NETWORK))
    absolute = plain.named([weight.detach().abs() for weight in plain.weights])
    with pytest.raises(AssertionError):
        judge(write("lamp__absolute", {"dtype": "f64"}, below("mask", highest(absolute, 63)), values, network=NETWORK))


@pytest.mark.parametrize(("begin", "end", "frequency"), [(7, 47, 10), (7, 40, 10), (0, 30, 7)])
def test_gradual_pruning_may_begin_later_and_end_between_two_updates(write, begin, end, frequency):
    steps = np.arange(60)
    left = 1 - np.clip((steps - begin) / (end - begin), 0, 1)
    updates = (begin <= steps) & (steps <= end) & ((steps - begin) % frequency == 0)
    own = {"step": steps, "sparsity": 0.7 - 0.5 * left**3, "is_update": updates}
    facts = {"repo": TFMOT, "initial": 0.2, "final": 0.7, "begin": begin, "end": end, "frequency": frequency}
    judge(write("gmp_tfmot__late", facts | {"power": 3}, own))
    with pytest.raises(Unchecked, match="cubic"):
        judge(write("gmp_tfmot__square", facts | {"power": 2}, own | {"sparsity": 0.7 - 0.5 * left**2}))


def test_jaxpruners_updates_are_counted_from_zero(write):
    steps, begin, end, every = np.arange(100), 13, 60, 5
    left = 1 - np.clip((steps + 1 - begin) / (end - begin), 0, 1)
    updates = (begin <= steps) & (steps <= end) & (steps % every == 0)
    facts = {"repo": JAXPRUNER, "start": begin, "end": end, "update_freq": every, "target": 0.8, "power": 3}
    judge(write("gmp_jax__late", facts, {"step": steps, "sparsity": 0.8 - 0.8 * left**3, "is_update": updates}))


@pytest.mark.parametrize("how", ["cosine", "constant", "exponential_1", "exponential_3", "exponential_2"])
def test_the_share_exchanged_may_fall_later_and_by_another_power(write, how):
    steps, begin, end = np.arange(100), 20, 80
    values = {
        "cosine": 0.15 * (1 + np.cos(math.pi * np.minimum(1, steps / (end - begin)))),
        "constant": np.full(100, 0.3),
        **{f"exponential_{power}": 0.3 * (1 - (steps - begin) / (end - begin)) ** power for power in (1, 2, 3)},
    }
    facts = {
        "repo": RIGL,
        "function": f"get_drop_fraction({how})",
        "initial": 0.3,
        "begin_step": begin,
        "end_step": end,
    }
    case = write("dst_tf__late", facts | {"begin_step": begin, "end_step": end}, {"step": steps, "value": values[how]})
    if how == "exponential_2":
        with pytest.raises(Unchecked, match="by a power of 2"):
            judge(case)
    else:
        judge(case)


def test_a_topology_without_weights_afterwards(write):
    weights = {"deep.er.weight": torch.arange(1.0, 13).view(3, 4)}
    before = {"deep.er.weight": torch.tensor([[1, 1, 1, 1], [1, 1, 1, 1], [0, 0, 0, 0]], dtype=torch.uint8)}
    gradients = {"deep.er.weight": torch.tensor([[-9.0, 0, 0, 0], [0, 0, 0, 0], [1, 2, -3, 4]])}
    # ITOP rounds 0.3 · 8 up: the weights 1, 2 and 3 go; 1 comes back for its gradient, and two of the last row.
    after = {"deep.er.weight": torch.tensor([[1, 0, 0, 1], [1, 1, 1, 1], [0, 0, 1, 1]], dtype=torch.uint8)}
    facts = {"repo": ITOP, "function": "truncate_weights(death='magnitude', growth='gradient')", "drop_fraction": 0.3}
    given = below("w", weights) | below("mask_in", before) | below("grad", gradients)
    judge(write("dst_torch__masks", facts, below("mask", after), given))
    facts["function"] = "truncate_weights(death='magnitude', growth='momentum')"
    with pytest.raises(Unchecked, match="'momentum'; known: gradient, random"):
        judge(write("dst_torch__momentum", facts, below("mask", after), given))


def test_densities_of_another_network(write):
    shapes = {"stem.conv.weight": (64, 3, 7, 7), "body.conv.weight": (128, 64, 5, 5), "head.weight": (10, 128)}
    sizes = {name: math.prod(shape) for name, shape in shapes.items()}
    # At a sparsity of 0.9 only the head is dense.
    budget = 0.1 * sum(sizes.values()) - sizes["head.weight"]
    scale = budget / (64 + 3 + 7 + 7 + 128 + 64 + 5 + 5)
    sums = {"stem.conv.weight": 64 + 3 + 7 + 7, "body.conv.weight": 128 + 64 + 5 + 5}
    densities = [*(scale * sums[name] / sizes[name] for name in sums), 1.0]
    facts = {"repo": ITOP, "sparsity": 0.9}
    judge(write("erk_torch__other", facts, {"layer_density": densities}, shapes=shapes))
    rounded = [density * (1 + 1e-5) for density in densities[:2]]
    judge(write("erk_tf__other", facts | {"repo": RIGL}, {"layer_density": [*rounded, 1.0]}, shapes=shapes))
    with pytest.raises(AssertionError):
        judge(write("erk_torch__rounded", facts, {"layer_density": [*rounded, 1.0]}, shapes=shapes))
    with pytest.raises(Unchecked, match="to a power"):
        power = facts | {"repo": RIGL, "erk_power_scale": 0.7}
        judge(write("erk_tf__power", power, {"layer_density": [0.9, 0.09, 1.0]}, shapes=shapes))


@pytest.mark.parametrize("kernel", [(1, 1), (1, 3), (5, 5)])
def test_factors_of_convolutions_but_for_those_that_the_authors_cut_otherwise(write, kernel):
    draw = torch.Generator().manual_seed(0)
    weight = torch.randn(6, 4, *kernel, generator=draw, dtype=torch.float64)
    bias, x = (torch.randn(*shape, generator=draw, dtype=torch.float64) for shape in ((6,), (2, 4, 7, 7)))
    matrix = weight.reshape(6 * kernel[0], 4 * kernel[1])
    left, values, right = torch.linalg.svd(matrix, full_matrices=False)
    product = left[:, :3] @ values[:3].diag() @ right[:3]
    output = functional.conv2d(x, product.view(6, kernel[0], 4, kernel[1]).transpose(1, 2), bias, 2, 1)
    own = {"weight": weight, "bias": bias, "x": x, "product": product, "output": output}
    facts = {"dtype": "f64", "rank": 3, "shape": [6, 4, *kernel], "stride": 2, "padding": 1}
    case = write("factorized__conv", facts, own | {"frobenius_norm": product.norm()}, coef=0.1)
    if kernel == (5, 5):
        with pytest.raises(Unchecked, match="in another order"):
            judge(case)
    else:
        judge(case)


def test_edge_popup_under_norms_without_scales(write):
    values = inputs()
    plain = Plain(values)
    scores = plain.named([torch.randn(weight.shape) for weight in plain.weights])
    masks = {name: highest({name: score.abs()}, score.numel() // 2)[name] for name, score in scores.items()}
    for weight, mask in zip(plain.weights, masks.values(), strict=True):
        weight.data *= mask
    own = {"logits": plain.logits(plain.x, training=True).detach(), **below("mask", masks)}
    facts, given = {"dtype": "f64", "bn_mode": "train"}, values | below("score_param", scores)
    judge(write("edgepopup__tiny", facts, own, given, network=NETWORK))
    with pytest.raises(AssertionError):
        judge(write("edgepopup__eval", facts | {"bn_mode": "eval"}, own, given, network=NETWORK))


@pytest.mark.parametrize("kernel", [(), (1, 1), (3, 3)])
@pytest.mark.parametrize("function", ["Sparse.apply(weight, 1, 3)", "Sparse_NHWC.apply(weight, 1, 3)"])
def test_sr_ste_but_for_groups_along_a_kernel(write, kernel, function):
    draw = torch.Generator().manual_seed(0)
    weight, upstream = (torch.randn(2, 6, *kernel, generator=draw, dtype=torch.float64) for _ in range(2))
    grouped = weight.abs().unflatten(1, (2, 3))
    kept = (grouped == grouped.amax(2, keepdim=True)).flatten(1, 2)
    own = {"mask/a.weight": kept.byte(), "grad_w/a.weight": upstream + 0.5 * weight * ~kept}
    facts = {"function": function, "dtype": "f64", "keep": 1, "of": 3, "decay": 0.5}
    case = write("sr_ste__tiny", facts, own, {"param/a.weight": weight, "gout/a.weight": upstream})
    if kernel == (3, 3) and function.startswith("Sparse.apply"):
        with pytest.raises(AssertionError, match="said not to be comparable, but it agrees"):
            judge(case)
    else:
        judge(case)


@pytest.mark.parametrize("kernel", [(), (3, 3)])
def test_soft_thresholds_of_another_start(write, kernel):
    draw = torch.Generator().manual_seed(0)
    weight, upstream = (torch.randn(2, 6, *kernel, generator=draw, dtype=torch.float64) for _ in range(2))
    threshold = 1 / (1 + math.exp(1.5))
    kept = weight.abs() > threshold
    own = {
        "mask/a.weight": kept.byte(),
        "w_sparse/a.weight": (weight - threshold * weight.sign()) * kept,
        "grad_w/a.weight": upstream * kept,
        "grad_s/a.weight": [-threshold * (1 - threshold) * float((weight.sign() * upstream)[kept].sum())],
    }
    given, facts = {"param/a.weight": weight, "gout/a.weight": upstream}, {"dtype": "f64", "s": -1.5}
    judge(write("str__tiny", facts, own, given))
    with pytest.raises(AssertionError):
        judge(write("str__straight", facts, own | {"grad_w/a.weight": upstream}, given))


def test_powers_of_another_network(write):
    values = inputs()
    trained = {name: value.double() for name, value in values.items() if name.endswith(".weight")}
    plain = Plain(values | {name: theta * theta.abs() ** 1.5 for name, theta in trained.items()})
    logits = plain.logits(plain.x)
    functional.cross_entropy(logits, plain.y).backward()
    slopes = [2.5 * theta.abs() ** 1.5 for theta in trained.values()]
    gradients = plain.named([weight.grad * slope for weight, slope in zip(plain.weights, slopes, strict=True)])
    weights = plain.named([weight.detach() for weight in plain.weights])
    # Of 180 weights and the 72 of the output layer, a quarter and a half.
    counts = {"stem.conv.weight": 45, "blocks.0.fc.weight": 36}
    mask = {name: highest({name: weights[name].abs()}, count)[name] for name, count in counts.items()}
    own = {"logits": logits.detach(), **below("w", weights), **below("mask_keep0.25", mask)}
    facts = {"dtype": "f64", "alpha": 2.5}
    judge(write("powerprop__tiny", facts, own | below("grad_theta", gradients), values, network=NETWORK))
    with pytest.raises(AssertionError):
        judge(write("powerprop__cubic", facts | {"alpha": 3.0}, own, values, network=NETWORK))
    even = below(
        "mask", {name: highest({name: weight.abs()}, weight.numel() // 3)[name] for name, weight in weights.items()}
    )
    with pytest.raises(AssertionError):
        judge(write("powerprop__even", facts, even, values, network=NETWORK))


def test_a_difference_that_is_none_is_told(write):
    steps = np.arange(10)
    facts = {"repo": TFMOT, "begin": 0, "end": 5, "frequency": 1, "initial": 0.5, "final": 0.5, "power": 1}
    with pytest.raises(AssertionError, match="said not to be comparable, but it agrees"):
        judge(write("gmp_tfmot__flat", facts, {"step": steps, "sparsity": np.full(10, 0.5)}))


def test_a_network_of_unknown_operations_or_without_weights_is_told(write):
    values = inputs()
    odd = [*NODES[:-1], {"id": "odd", "op": "softmax", "in": ["flat"]}]
    with pytest.raises(ValueError, match="'odd' has an unknown op 'softmax'; known: conv2d, linear"):
        judge(write("snip__odd", {}, {"mask_s50/a": [1]}, values, network={"nodes": odd}))
    del values["param/blocks.0.fc.bias"]
    with pytest.raises(ValueError, match=r"snip__without\.json has no param/ for blocks\.0\.fc\.bias"):
        judge(write("snip__without", {}, {"mask_s50/a": [1]}, values, network=NETWORK))


def loaded(folder, monkeypatch):
    """The module of the golden tests, for this folder."""
    monkeypatch.setenv("LTH_BENCH_GOLDEN", str(folder))
    spec = spec_from_file_location("golden_tests", Path(__file__).with_name("test_golden.py"))
    module = module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_a_folder_of_other_families_alone_is_skipped_by_their_names(write, tmp_path, monkeypatch):
    write("unheard__tiny", {}, {"score": [1.0]})
    golden_tests = loaded(tmp_path, monkeypatch)
    (case,) = golden_tests.CASES
    with pytest.raises(pytest.skip.Exception, match="no check here for the family 'unheard'"):
        golden_tests.test_the_official_code_agrees(case)


def test_a_mistyped_folder_is_one_error(tmp_path, monkeypatch):
    with pytest.raises(pytest.fail.Exception, match=r"mistyped is no folder$"):
        loaded(tmp_path / "mistyped", monkeypatch)


def test_a_folder_without_cases_and_files_that_are_none_are_told(tmp_path):
    with pytest.raises(FolderFault, match=r"no golden cases: looked for FAMILY__NAME\.json"):
        read_cases(tmp_path)
    (tmp_path / "a.json").write_text("{")
    (tmp_path / "b.json").write_text('{"results": {"x": {}, "y": {}}}')
    (tmp_path / "c.json").write_text('{"results": {"x": {}, "y": {}}}')
    np.savez(tmp_path / "c.npz", **{"res/x/mask": [1]})
    with pytest.raises(FolderFault) as fault:
        read_cases(tmp_path)
    assert str(fault.value).endswith(
        'no golden cases: a.json is no JSON object with an object "results"; '
        "b.json has no readable file of arrays beside it; c.json has no arrays for y"
    )
