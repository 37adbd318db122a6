"""What a recipe's options do: against loops written by hand, and image by image."""

from __future__ import annotations

import re

import pytest
import torch
from torch import nn
from torch.nn.functional import cross_entropy, pad

from lth_bench.data.augmentation import augmented
from lth_bench.data.batches import BatchOrder
from lth_bench.data.examples import Draw
from lth_bench.experiments.durations import Duration
from lth_bench.experiments.experiment import Choice
from lth_bench.experiments.plugins import load_plugins
from lth_bench.experiments.recipe import Schedule
from lth_bench.methods.scores import magnitude
from lth_bench.models.networks import make_network
from lth_bench.models.timm_models import register_models
from lth_bench.training.optimizers import make_optimizer
from lth_bench.training.session import Session
from lth_bench.training.setup import Setup
from support.networks import examples, make_session, network, recipe
from support.places import ROOT

PLUGINS = load_plugins()


@pytest.fixture(scope="module", autouse=True)
def registered():
    register_models(PLUGINS.models.items)


def images(count=400, channels=3, side=8):
    return torch.randint(1, 256, (count, channels, side, side), dtype=torch.uint8, generator=torch.manual_seed(0))


def windows(image, crop):
    """All that cropping may make of an image, and the same mirrored."""
    padded, side = pad(image, (crop,) * 4), image.shape[-1]
    found = [padded[:, y : y + side, x : x + side] for y in range(2 * crop + 1) for x in range(2 * crop + 1)]
    return [*found, *(window.flip(2) for window in found)]


def test_augmentation_is_a_function_of_seed_and_step():
    options = recipe(crop=2, flip=True, cutout=3)
    first, again = (augmented(images(), options, 1, 5) for _ in range(2))
    assert torch.equal(first, again)
    assert not any(torch.equal(first, augmented(images(), options, *other)) for other in ((2, 5), (1, 6)))
    assert torch.equal(augmented(images(), recipe(), 1, 5), images())


def test_a_crop_is_any_window_of_the_padded_image_and_every_other_one_is_mirrored():
    made = augmented(images(), recipe(crop=1, flip=True), 0, 0)
    places = [
        next(place for place, window in enumerate(windows(image, 1)) if torch.equal(window, new))
        for image, new in zip(images(), made, strict=True)
    ]
    assert set(places) == set(range(18))
    assert 150 < sum(place >= 9 for place in places) < 250


def test_flipping_alone_moves_nothing():
    made = augmented(images(), recipe(flip=True), 0, 0)
    mirrored = [torch.equal(new, image.flip(2)) for image, new in zip(images(), made, strict=True)]
    kept = [torch.equal(new, image) for image, new in zip(images(), made, strict=True)]
    assert 150 < sum(mirrored) < 250 and sum(mirrored) + sum(kept) == 400


@pytest.mark.parametrize("size", [1, 2, 3])
def test_a_cut_out_is_a_black_square_that_may_reach_over_the_edge(size):
    black = (augmented(images(2000), recipe(cutout=size), 0, 0) == 0).all(1)
    rows, columns = black.any(2).sum(1), black.any(1).sum(1)
    assert torch.equal(rows * columns, black.sum((1, 2))) and set(rows.tolist()) == set(
        range(size - size // 2, size + 1)
    )
    assert black.any(0).all()


def test_training_batches_are_augmented_and_samples_are_not():
    data, options = examples(50), recipe(batch_size=10, crop=1)
    stream = BatchOrder(data, options, 0)
    batch, plain = stream.batch(7), BatchOrder(data, recipe(batch_size=10), 0).batch(7)
    assert torch.equal(batch.labels, plain.labels) and not torch.equal(batch.inputs, plain.inputs)
    draw = Draw(options, 0, 7, 1, stream._order, 20)
    assert torch.equal(next(data.training_batches([draw])).inputs, batch.inputs)
    known = {tuple(image.flatten().tolist()) for image in data.batch(slice(None)).inputs}
    assert all(tuple(image.flatten().tolist()) in known for image in stream.sample(20, ("x",)).inputs)


def by_hand(options, steps, forward):
    """Masks, data order and noise as a Session has them; everything else is torch's."""
    session, model = make_session(options, sparsity=0.5), network(0)
    model.load_state_dict(session.model.state_dict())
    matrices = [parameter for parameter in model.parameters() if parameter.dim() > 1]
    vectors = [parameter for parameter in model.parameters() if parameter.dim() <= 1]
    groups = [{"params": vectors, "weight_decay": 0.0}, {"params": matrices}]
    parameters = groups if options.decay == "weights" else list(model.parameters())
    optimizer = torch.optim.SGD(
        parameters, 0.0, options.momentum, weight_decay=options.weight_decay, nesterov=options.nesterov
    )
    model.train()
    for step, batch in zip(range(steps), session.batches(steps), strict=True):
        session.loss(batch).backward()
        session.update()
        optimizer.param_groups[0]["lr"] = optimizer.param_groups[-1]["lr"] = Schedule(options, 7).rate(step)
        optimizer.zero_grad()
        torch.manual_seed(0)
        forward(model, batch).backward()
        optimizer.step()
    return session.model.state_dict(), model.state_dict()


@pytest.mark.parametrize(
    "changes",
    [
        {"nesterov": True},
        {"decay": "weights", "weight_decay": 0.5},
        {"label_smoothing": 0.3},
        {"warmup": Duration("3it"), "schedule": "cosine"},
    ],
    ids=str,
)
def test_options_do_what_torch_does(changes, monkeypatch):
    monkeypatch.setattr(nn.Dropout, "forward", lambda self, x: x)
    options = recipe(**changes)
    smoothing = options.label_smoothing
    plain = by_hand(options, 6, lambda model, b: cross_entropy(model(b.inputs), b.labels, label_smoothing=smoothing))
    without = by_hand(recipe(), 6, lambda model, b: cross_entropy(model(b.inputs), b.labels))
    for name, value in plain[0].items():
        torch.testing.assert_close(value, plain[1][name], rtol=1e-5, atol=1e-6)
    assert not all(torch.equal(value, without[0][name]) for name, value in plain[0].items())


@pytest.mark.parametrize(
    "exempt", [{"fc2.weight"}, ["fc2.weight"], lambda: {"fc2.weight"}], ids=["set", "list", "method"]
)
def test_a_model_exempts_parameters_from_decay_by_a_set_or_a_method(exempt):
    model = network(0)
    model.no_weight_decay = exempt
    names = {parameter: name for name, parameter in model.named_parameters()}
    groups = make_optimizer(recipe(decay="weights", weight_decay=0.5), model).param_groups
    decays = {names[parameter]: group["weight_decay"] for group in groups for parameter in group["params"]}
    assert decays.keys() == set(names.values())
    assert {name for name, decay in decays.items() if decay} == {"fc1.weight", "fc3.weight"}


def test_validation_loss_is_not_smoothed():
    smooth = make_session(recipe(label_smoothing=0.5, learning_rate=1e-30, weight_decay=0.0))
    plain = make_session(recipe(learning_rate=1e-30, weight_decay=0.0))
    losses = []
    for session in (smooth, plain):
        session.train(until=5)
        losses.append((session.course.monitor.curve[0].training_loss, session.course.monitor.curve[0].validation_loss))
    assert losses[0][0] != losses[1][0] and losses[0][1] == losses[1][1]


def test_bfloat16_is_the_precision_of_training_passes_alone():
    seen = []
    session = make_session(recipe(precision="bfloat16"))
    session.model.fc2.register_forward_hook(lambda layer, inputs, output: seen.append(output.dtype))
    session.train(until=5)
    with session.scoring():
        session.loss(session.sample(10))
    assert seen == [torch.bfloat16] * 5 + [torch.float32] * 2
    assert {value.dtype for value in session.model.state_dict().values()} == {torch.float32, torch.int64}


def test_channels_last_is_the_layout_of_convolutions_and_masks_hold_in_it():
    options = recipe(channels_last=True)
    model = make_network(Choice("cifar_resnet20"), options, (3, 8, 8), 3, 0)
    plain = make_network(Choice("cifar_resnet20"), recipe(), (3, 8, 8), 3, 0)
    assert model.layer1[0].conv1.weight.is_contiguous(memory_format=torch.channels_last)
    assert all(torch.equal(value, plain.state_dict()[name]) for name, value in model.state_dict().items())
    batch = torch.randn(4, 3, 8, 8)
    torch.testing.assert_close(model.eval()(batch), plain.eval()(batch), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(("initialisation", "gain"), [("kaiming_normal", 2.0), ("glorot_normal", None)])
def test_initial_weights_have_the_deviation_of_their_draw(initialisation, gain):
    model = make_network(Choice("resnet18"), recipe(initialisation=initialisation), (3, 32, 32), 10, 0)
    weight = model.layer3[1].conv1.weight.detach()
    fan_in, fan_out = 256 * 9, 256 * 9
    wanted = gain / fan_in if gain else 2 / (fan_in + fan_out)
    assert float(weight.var()) == pytest.approx(wanted, rel=0.02)
    assert not model.fc.bias.any() and model.fc.weight.any()
    other = make_network(Choice("resnet18"), recipe(initialisation=initialisation), (3, 32, 32), 10, 1)
    assert not torch.equal(weight, other.layer3[1].conv1.weight)


def test_uniform_norm_scales_lie_between_zero_and_one():
    model = make_network(Choice("cifar_resnet20"), recipe(norm_scale="uniform"), (3, 32, 32), 10, 0)
    scales = torch.cat([layer.weight.detach() for layer in model.modules() if isinstance(layer, nn.BatchNorm2d)])
    assert 0 <= scales.min() < 0.05 and 0.95 < scales.max() < 1


@pytest.mark.parametrize("name", list(PLUGINS.recipes))
def test_every_named_recipe_has_a_schedule_and_is_documented(name):
    found = PLUGINS.recipes[name]
    epoch = 45_000 // found.batch_size
    schedule = Schedule(found, epoch)
    rates = [schedule.rate(step) for step in range(0, schedule.total, max(1, schedule.total // 500))]
    assert max(rates) <= found.learning_rate * 1.0001 and min(rates) > 0
    page = ROOT.joinpath("docs", "recipes.md").read_text()
    assert re.search(rf"^\| `{name}` \|", page, re.MULTILINE)


def test_pruned_weights_stay_zero_where_the_layout_is_channels_last():
    options = recipe(channels_last=True)
    setup = Setup(
        lambda seed: make_network(Choice("cifar_resnet20"), options, (1, 4, 4), 3, seed),
        examples(70),
        examples(20, 1),
        options,
        0.9,
        0,
    )
    session = Session(setup)
    session.prune(magnitude(session))
    session.train(until=3)
    assert (
        session.weights["layer1.0.conv1.weight"].stride()
        != session.weights["layer1.0.conv1.weight"].contiguous().stride()
    )
    assert sum(int(weight[~session.masks[name]].count_nonzero()) for name, weight in session.weights.items()) == 0
