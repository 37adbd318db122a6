"""What networks, training and scoring cost, against torch's own counter and against counts by hand."""

from __future__ import annotations

import functools
import json
import math
import re

import msgspec
import pytest
import timm
import torch
from torch import nn
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from lth_bench.data.examples import Examples
from lth_bench.errors import SessionError
from lth_bench.experiments.choices import instantiate
from lth_bench.experiments.durations import Duration
from lth_bench.experiments.experiment import Choice, Experiment, Planned, without_defaults
from lth_bench.experiments.plugins import load_plugins
from lth_bench.experiments.recipe import Recipe
from lth_bench.models.flops import ATTENTION_FORMULAS, passage
from lth_bench.models.layer_roles import prunable
from lth_bench.models.timm_models import make_model, register_models
from lth_bench.pruning import allocation
from lth_bench.results.costs import Costing, shapes, training
from lth_bench.results.excerpts import Excerpt
from lth_bench.running.metrics import calibration_error, described, on_paths
from lth_bench.running.run import run
from lth_bench.running.worker import make_context
from lth_bench.storage.record import builtins, identity
from lth_bench.storage.work import RecordedEvent
from lth_bench.training.metering import PausableMeter
from lth_bench.training.session import Session
from lth_bench.training.setup import Setup
from support.documents import whole
from support.networks import make_session, network

PLAIN = [
    "resnet18", "mobilenetv2_050", "mobilenetv3_small_050", "efficientnet_b0", "convnext_atto", "regnety_002",
    "densenet121", "ghostnet_050", "vgg11", "poolformer_s12", "resnext26ts",
]  # fmt: skip
ATTENTIVE = [
    "vit_tiny_patch16_224", "deit_tiny_patch16_224", "swin_tiny_patch4_window7_224", "beit_base_patch16_224",
    "xcit_nano_12_p16_224", "levit_128s", "mobilevit_xxs",
]  # fmt: skip


def made(name):
    model = timm.create_model(name, num_classes=10)
    return model, (3, 224, 224) if model.default_cfg.get("fixed_input_size") else (3, 64, 64)


@pytest.mark.parametrize("name", PLAIN + ATTENTIVE)
def test_dense_flops_are_those_of_torchs_counter(name):
    model, shape = made(name)
    found = passage(model, prunable(model), shape)
    with FlopCounterMode(display=False) as counter, torch.no_grad(), sdpa_kernel(SDPBackend.MATH):
        model.eval()(torch.ones(1, *shape))
    assert sum(found.layers.values()) + found.other == counter.get_total_flops()
    assert all(found.layers.values()), "every layer was seen"
    assert (found.other == 0) == (name in PLAIN), "only attention multiplies what are not weights"


def test_the_products_of_attention_by_hand():
    model, shape = made("vit_tiny_patch16_224")
    tokens, width, blocks = 14 * 14 + 1, 192, 12
    assert passage(model, prunable(model), shape).other == blocks * 2 * 2 * tokens * tokens * width
    torch_own = nn.MultiheadAttention(8, 2, batch_first=True)

    class Attention(nn.Module):
        def __init__(self):
            super().__init__()
            self.attention = torch_own

        def forward(self, x):
            x = x.flatten(2).transpose(1, 2)
            return self.attention(x, x, x, need_weights=False)[0]

    wrapped = Attention()
    found = passage(wrapped, prunable(wrapped), (8, 2, 3))
    assert found.layers == {"attention.in_proj_weight": 2 * 6 * 24 * 8, "attention.out_proj.weight": 2 * 6 * 8 * 8}
    assert found.other == 2 * 2 * 6 * 6 * 8


BACKENDS = [
    SDPBackend.MATH, SDPBackend.FLASH_ATTENTION, SDPBackend.EFFICIENT_ATTENTION, SDPBackend.CUDNN_ATTENTION,
]  # fmt: skip
BATCHED, HEADS, QUERIES, KEYS, WIDTH = 2, 3, 8, 16, 32
NO_BACKEND = "No available kernel|No viable backend"


def metered_attention(backend, device, dropout):
    """FLOPs that a meter reports: forward, and forward and backward together."""
    dtype = torch.float32 if device == "cpu" else torch.float16
    queries, keys, values = (
        torch.ones(BATCHED, HEADS, tokens, WIDTH, device=device, dtype=dtype, requires_grad=True)
        for tokens in (QUERIES, KEYS, KEYS)
    )
    reported = []
    with PausableMeter(dict, lambda _, flops: reported.append(flops)).on(), sdpa_kernel(backend):
        out = nn.functional.scaled_dot_product_attention(queries, keys, values, dropout_p=dropout)
        forward = sum(reported)
        out.sum().backward()
    return forward, sum(reported)


@pytest.mark.filterwarnings("ignore")  # torch says why it takes no backend
@pytest.mark.parametrize("device", ["cpu", "cuda"])
@pytest.mark.parametrize("dropout", [0.0, 0.1])
@pytest.mark.parametrize("backend", BACKENDS, ids=str)
def test_attention_costs_the_same_on_every_backend_forward_and_back(backend, dropout, device):
    if device == "cuda" and not torch.cuda.is_available():
        pytest.skip("needs a GPU")
    products = 2 * 2 * BATCHED * HEADS * QUERIES * KEYS * WIDTH
    try:
        measured = metered_attention(backend, device, dropout)
    except RuntimeError as error:
        if not re.search(NO_BACKEND, str(error)):
            raise
        pytest.skip(f"torch has no such backend here: {error}")
    assert measured == (products, 3 * products)


@pytest.mark.parametrize("device", ["cpu", "cuda"])
def test_attention_of_a_network_costs_what_its_products_cost_whatever_computes_it(device):
    if device == "cuda" and not torch.cuda.is_available():
        pytest.skip("needs a GPU")
    model, shape = made("vit_tiny_patch16_224")
    model.to(device)
    reported = []
    with PausableMeter(dict, lambda _, flops: reported.append(flops)).on(), torch.no_grad():
        model.eval()(torch.ones(1, *shape, device=device))
    whole = passage(model, prunable(model), shape)
    assert sum(reported) == sum(whole.layers.values()) + whole.other


def test_every_fused_attention_of_torch_has_a_formula():
    """One without a formula would count as nothing: this fails when a new torch brings one."""
    names = {name.removeprefix("aten::").split(".")[0] for name in torch._C._dispatch_get_all_op_names()}
    fused = {name for name in names if name.startswith("_scaled_dot_product")} - {"_scaled_dot_product_attention_math"}
    assert {getattr(torch.ops.aten, name) for name in fused} == set(ATTENTION_FORMULAS)


def test_the_formulas_of_attention_by_hand():
    # Six heads of queries share three of keys; values are wider.
    meta = functools.partial(torch.empty, device="meta")
    queries, keys, values = meta(2, 6, 8, 4), meta(2, 3, 16, 4), meta(2, 3, 16, 5)
    products = 2 * (2 * 6) * 8 * 16 * (4 + 5)
    for packet, formula in ATTENTION_FORMULAS.items():
        backward = str(packet).endswith("_backward")
        gradients = [meta(2, 6, 8, 5)] if backward else []
        assert formula(*gradients, queries, keys, values, None, 0.0) == (2 if backward else 1) * products


def test_depthwise_and_transposed_convolutions_by_hand_forward_and_back():
    model = nn.Sequential(nn.Conv2d(4, 4, 3, padding=1, groups=4), nn.ConvTranspose2d(4, 2, 2, stride=2))
    heard = {}

    def hear(name, flops):
        heard[name] = heard.get(name, 0) + flops

    weights = {name: weight for name, weight in model.named_parameters() if "weight" in name}
    with PausableMeter(lambda: weights, hear).on():
        out = model(torch.ones(2, 4, 6, 6))
        assert heard == {"0.weight": 2 * 2 * 36 * 36, "1.weight": 2 * 2 * 36 * 4 * 2 * 4}
        forward = dict(heard)
        out.sum().backward()
    # Gradients of the first layer's inputs are not asked for, so that it is multiplied with once.
    assert heard == {
        "0.weight": forward["0.weight"],
        "1.weight": 2 * forward["1.weight"],
        "": forward["0.weight"] + forward["1.weight"],
    }


@pytest.mark.parametrize(
    ("distribution", "sparsity", "published"),
    [
        ("uniform", 0.8, 0.23),
        ("uniform", 0.9, 0.13),
        ("erk", 0.8, 0.42),
        ("erk", 0.9, 0.24),
    ],
)
def test_inference_of_resnet50_costs_what_rigl_reports(distribution, sparsity, published):
    """Evci et al. 2020, arXiv:1911.11134, table 2 (uniform: the first layer is dense), from shapes alone."""
    model = timm.create_model("resnet50")
    weights = prunable(model)
    sizes = {name: tuple(weight.shape) for name, weight in weights.items()}
    if distribution == "uniform":
        first = next(iter(sizes))
        densities = {name: 1.0 if name == first else 1 - sparsity for name in sizes}
    else:
        densities = allocation.erk_densities(sizes, sparsity)
    found = passage(model, weights, (3, 224, 224))
    counts = {name: math.prod(shape) for name, shape in sizes.items()}
    kept = {name: densities[name] * count for name, count in counts.items()}
    assert found.flops(counts, counts) == pytest.approx(8.2e9, rel=0.01), "and the dense network, too"
    assert found.flops(kept, counts) / found.flops(counts, counts) == pytest.approx(published, abs=0.01)


# ---- the ledger of a two-layer network, by hand ----------------------------------------------------------------------


class Two(nn.Module):
    """4 → 3 → 2 without biases: 18 weights, of which a pass uses each once."""

    def __init__(self):
        super().__init__()
        self.first, self.second = nn.Linear(4, 3, bias=False), nn.Linear(3, 2, bias=False)

    def forward(self, x):
        return self.second(self.first(x.flatten(1)))


FIRST, SECOND, BATCH = 2 * 12, 2 * 6, 5
DENSE = FIRST + SECOND


def two_layers(sparsity, steps=8):
    generator = torch.Generator().manual_seed(0)
    data = Examples(torch.rand(20, 4, generator=generator), torch.arange(20) % 2)
    recipe = Recipe(Duration(f"{steps}it"), BATCH, 0.1, measure_every=Duration(f"{steps}it"))
    return Session(Setup(seeded, data, data, recipe, sparsity, 0))


def seeded(seed):
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        return Two()


def ran(name, sparsity, **arguments):
    """A Session that a pruner has driven, and its costs: of kept weights alone, and on dense matrices."""
    session = two_layers(sparsity)
    with session.account.metered():
        instantiate(load_plugins().pruners, name, arguments)(session)
    events = msgspec.convert([without_defaults(event) for event in session.account.ledger.events], list[RecordedEvent])
    return session, training(network_shapes(session.model, session.weights, session.input_shape), events)


def forward(kept):
    return FIRST * kept[0] / 12 + SECOND * kept[1] / 6


def test_the_ledger_of_imp_by_hand():
    # Rounds of one half: 18, 9 and 5 weights (0.7 of 18 is 12.6, so that 5 are left), 8 steps of 5 examples each.
    session, (sparse, dense) = ran("imp", 0.7, rate=0.5)
    kept = [event.kept for event in session.account.ledger.events]
    assert [sum(counts) for counts in kept] == [18, 9, 5]
    assert sparse == sum(3 * 8 * BATCH * forward(counts) for counts in kept)
    assert dense == 3 * 3 * 8 * BATCH * DENSE


def test_the_ledger_of_rigl_by_hand():
    # Eight ticks, of which those at 2 and 4 have dense gradients, and do no update.
    session, (sparse, dense) = ran("rigl", 0.5, interval="2it", until="75%", distribution="uniform")
    ticks = [(event.kind, event.step, event.steps) for event in session.account.ledger.events]
    dense_ticks = sum(steps for kind, _, steps in ticks if kind == "dense_gradients")
    assert sum(steps for *_, steps in ticks) == 8 and dense_ticks >= 2
    thin = forward((6, 3))
    assert {event.kept for event in session.account.ledger.events} == {(6, 3)}
    assert sparse == BATCH * ((8 - dense_ticks) * 3 * thin + dense_ticks * (2 * thin + DENSE))
    assert dense == BATCH * 8 * 3 * DENSE


class Partial(nn.Module):
    """Declares what its layer's passes use; the first layer reads a quarter, and has gradients for half."""

    def __init__(self, **densities):
        super().__init__()
        vars(self).update(densities)

    def forward(self, weight):
        return weight


@pytest.mark.parametrize(
    ("first", "counted", "gradients"),
    [
        ({}, (12, 6), None),
        ({"forward_density": 0.25}, (3, 6), (12, 6)),
        ({"backward_density": 0.5}, (12, 6), (6, 6)),
        ({"forward_density": 0.25, "backward_density": 0.5}, (3, 6), (6, 6)),
        ({"forward_density": 0.25, "backward_density": 0.25}, (3, 6), None),
    ],
)
def test_passes_through_some_weights_with_gradients_of_others_by_hand(first, counted, gradients):
    session = two_layers(0.5)
    session.parametrize(lambda layer, weight: Partial(**first) if layer == "first.weight" else nn.Identity())
    session.train(until=6)
    session.bake()
    session.train()
    events = session.account.ledger.events
    assert [(event.steps, event.kept, event.gradients) for event in events] == (
        [(6, counted, gradients), (2, (12, 6), None)] if first else [(8, (12, 6), None)]
    )
    recorded = msgspec.convert([without_defaults(event) for event in events], list[RecordedEvent])
    sparse, dense = training(network_shapes(session.model, session.weights, session.input_shape), recorded)
    assert sparse == BATCH * (6 * (2 * forward(counted) + forward(gradients or counted)) + 2 * 3 * DENSE)
    assert dense == BATCH * 8 * 3 * DENSE


@pytest.mark.parametrize("density", [1.5, -0.1, "half", None, math.nan])
def test_a_density_that_is_no_share_is_refused(density):
    session = two_layers(0.5)
    session.parametrize(lambda layer, weight: Partial(forward_density=density))
    with pytest.raises(SessionError, match=r"^forward_density of the module that computes layer 'first.weight' must"):
        session.train()


def test_scoring_is_measured_by_hand():
    # One pass over 10 examples; nobody asks for the gradient of the images, so that the first layer costs two.
    session, (sparse, dense) = ran("snip", 0.5, examples=10)
    scoring = 10 * (2 * FIRST + 3 * SECOND)
    trained = session.account.ledger.events[-1].kept
    assert (session.account.ledger.events[0].flops, session.account.ledger.events[0].examples) == (scoring, 10)
    assert dense == scoring + 3 * 8 * BATCH * DENSE
    assert sparse == scoring + 3 * 8 * BATCH * forward(trained)


def test_scoring_a_pruned_network_costs_what_its_weights_need():
    session = two_layers(0.5)
    session.prune({name: torch.arange(float(w.numel())).view(w.shape) for name, w in session.weights.items()},
                  {"first.weight": 0.5, "second.weight": 0.5})  # fmt: skip
    with session.scoring():
        session.loss(session.sample(10)).backward()
    (event,) = session.account.ledger.events
    assert event.flops == 10 * (2 * FIRST + 3 * SECOND)
    # Forward both layers and back through the second at half; gradients for weights are dense.
    assert event.sparse_flops == 10 * (FIRST / 2 + 2 * SECOND / 2 + FIRST + SECOND)


def test_what_is_computed_outside_ticks_is_charged_whatever_computes_it():
    session = two_layers(0.5)
    with session.account.metered():
        session.model(torch.ones(3, 4))
        assert session.account.ledger.events[0].flops == 3 * DENSE
        for batch in session.batches(until=2):
            session.loss(batch).backward()
            session.update()
        session.model(torch.ones(1, 4))
    assert [(event.kind, event.flops) for event in session.account.ledger.events] == [
        ("score", 3 * DENSE),
        ("train", 0),
        ("score", DENSE),
    ]
    session.model(torch.ones(3, 4))
    assert sum(event.flops for event in session.account.ledger.events) == 4 * DENSE, "outside, nothing is heard"


def test_metering_changes_no_bit():
    ends = []
    for metered in (False, True):
        session = make_session(sparsity=0.8)
        pruner = instantiate(load_plugins().pruners, "grasp", {"per_class": 3})
        if metered:
            with session.account.metered():
                pruner(session)
        else:
            pruner(session)
        ends.append(session.model.state_dict())
    assert all(torch.equal(ends[0][name], ends[1][name]) for name in ends[0])


# ---- inference, sizes, paths -----------------------------------------------------------------------------------------


def test_sizes_in_bytes_by_hand():
    session = two_layers(0.5)
    described_as = described(session.model, session.weights, session.input_shape)
    layers = {"first.weight": {"kept": 5}, "second.weight": {"kept": 2}}
    sparsity = whole({"sparsity": {"measured": 0.5, "layers": layers}})
    known = {
        "schema": 1,
        "suite": "made",
        "label": "SNIP",
        "recipe": "r",
        "own_recipe": False,
        "experiment": {},
        "status": "done",
    }
    found = costs(known | {"network": builtins(described_as), **sparsity})
    assert found.inference_flops == 2 * 7 and found.theoretical_speedup == 18 / 7
    assert (found.parameters, found.bytes_dense) == (7, 4 * 18)
    assert found.bytes_bitmap == 4 * 7 + 2 + 1
    assert found.bytes_csr == 4 * (2 * 7 + (3 + 1) + (2 + 1))
    assert all(map(math.isnan, costs(known))), "records from before costs"


def costs(record):
    return Costing()(msgspec.json.decode(json.dumps({"key": "made", **record}).encode(), type=Excerpt))


def test_parameters_that_are_not_prunable_are_counted_whole():
    model = network(0)
    kept = network_shapes(model, prunable(model), (1, 4, 4))
    assert kept.other_parameters == 12 + 8 + 3 + 2 * 12


def network_shapes(*about):
    return shapes(described(*about))


def test_weights_on_no_path_are_found():
    model = Two()
    with torch.no_grad():
        model.first.weight.copy_(torch.tensor([[1.0, -2, 0, 0], [0, 0, 3, 0], [0, 0, 0, 0]]))
        model.second.weight.copy_(torch.tensor([[-1.0, 0, 5], [2, 0, 0]]))
    # The second hidden unit leads nowhere, the third gets nothing.
    assert on_paths(model, prunable(model), (4,)) == {"first.weight": 2, "second.weight": 2}


class Causal(Two):
    """Constants that are infinite or no numbers, and of which one would make the output NaN if it lost its sign."""

    def __init__(self):
        super().__init__()
        self.register_buffer("mask", torch.tensor([0.0, -torch.inf]))
        self.register_buffer("open", torch.tensor([True, True, False]))

    def forward(self, x):
        return self.second(self.first(x).masked_fill(~self.open, 0.0) * self.mask.softmax(0)[0])


def test_paths_are_found_beside_infinite_constants():
    model = Causal()
    assert on_paths(model, prunable(model), (4,)) == {"first.weight": 8, "second.weight": 4}


@pytest.mark.parametrize("sparsity", [0.3, 0.7, 0.9])
def test_paths_are_those_of_a_search_through_the_network(sparsity):
    generator = torch.Generator().manual_seed(int(100 * sparsity))
    model = nn.Sequential(nn.Flatten(), nn.Linear(9, 7), nn.ReLU6(), nn.Linear(7, 6), nn.GELU(), nn.Linear(6, 4))
    weights = prunable(model)
    with torch.no_grad():
        for weight in weights.values():
            weight.copy_(100 * torch.randn(weight.shape, generator=generator))
            weight.mul_(torch.rand(weight.shape, generator=generator) >= sparsity)
    masks = [(weight != 0).clone() for weight in weights.values()]
    reached, reaching = [torch.ones(9, dtype=torch.bool)], [torch.ones(4, dtype=torch.bool)]
    for mask in masks:
        reached.append((mask & reached[-1]).any(1))
    for mask in reversed(masks):
        reaching.insert(0, (mask & reaching[0][:, None]).any(0))
    wanted = [int((m & reached[i] & reaching[i + 1][:, None]).sum()) for i, m in enumerate(masks)]
    assert list(on_paths(model, weights, (1, 3, 3)).values()) == wanted


@pytest.mark.parametrize("name", ["mobilenetv3_small_050", "vit_tiny_patch16_224", "cifar_resnet20", "resnet18"])
def test_nearly_all_weights_of_a_dense_network_lie_on_paths(name):
    assert on_path(name, 128) >= 0.98


def test_weights_that_see_only_padding_lie_on_no_path():
    # Images of 32×32 end in a map of 1×1, of which 3×3 kernels see nothing but their centres.
    assert on_path("resnet18", 32) < 0.4


def on_path(name, size):
    register_models(load_plugins().models.items)
    model = make_model(name, {"zero_init_last": False} if name == "resnet18" else {}, (3, size, size), 10)
    weights = prunable(model)
    return sum(on_paths(model, weights, (3, size, size)).values()) / sum(weight.numel() for weight in weights.values())


def test_the_calibration_error_by_hand():
    confidence = torch.tensor([0.9, 0.92, 0.5, 0.95], dtype=torch.float64)
    correct = torch.tensor([1.0, 0, 1, 1], dtype=torch.float64)
    # Bins of 1/15: 0.9 and 0.92 in the one that ends at 14/15, 0.95 above it, 0.5 in that which ends at 8/15.
    wanted = (abs(0.9 - 1 + 0.92 - 0) + abs(0.5 - 1) + abs(0.95 - 1)) / 4
    assert calibration_error(confidence, correct) == pytest.approx(wanted)


def test_a_record_holds_what_costs_need(tmp_path):
    recipe = Recipe(Duration("4it"), 32, 0.05)
    experiment = Experiment(Choice("digits"), Choice("lenet_300_100"), recipe, Choice("snip"), 0.9, 0)
    record = run(identity("made", Planned(experiment, "SNIP", "r", False)), tmp_path, make_context(None, "cpu"))
    assert record.status == "done"
    found = costs(builtins(record))
    sizes = [64 * 300, 300 * 100, 100 * 10]
    assert [layer.flops for layer in record.network.layers] == [2 * size for size in sizes]
    assert found.inference_share == pytest.approx(0.1, abs=1e-4)
    assert found.parameters == record.sparsity.kept + 410
    assert 0 <= record.test.last.calibration_error <= 1 and record.test.last.top5_accuracy is None
    assert record.sparsity.measured <= record.sparsity.effective <= 1
    assert record.timing.latency > 0 and record.timing.peak_memory > 1e6
