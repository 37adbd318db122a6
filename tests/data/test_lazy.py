import gc
import multiprocessing
import random
import time
from dataclasses import replace

import numpy as np
import pytest
import torch
from PIL import Image
from timm.data import create_transform

from lth_bench.data.examples import Draw
from lth_bench.data.lazy import LazyExamples
from lth_bench.errors import DataError
from lth_bench.experiments.datasets import Listing
from support.networks import recipe

MEAN, STD = (0.4, 0.5, 0.6), (0.2, 0.3, 0.25)
STRONG = {"auto_augment": "rand-m9-mstd0.5", "gaussian_blur_prob": 0.5, "grayscale_prob": 0.2, "vflip": 0.5}
MIXED = {"auto_augment": "augmix-m3", "re_prob": 1.0, "re_mode": "pixel", "train_crop_mode": "rkrr"}
TRANSFORMS = {"default": {}, "strong": STRONG, "erasing": MIXED}


class Folder:
    """Images of several sizes, the one of number `broken` unreadable."""

    def __init__(self, broken=None):
        self.broken = broken

    def __call__(self, i):
        if i == self.broken:
            raise DataError(f"folder/{i}.jpg is damaged")
        shape = (30 + i % 5, 40 - i % 7, 3)
        return Image.fromarray(np.random.default_rng(i).integers(0, 256, shape, np.uint8))


def streamed(loaders: int = 0, count: int = 23, broken: int | None = None) -> LazyExamples:
    return LazyExamples(Listing(np.arange(count) % 5, Folder(broken), 24, 3, "content"), MEAN, STD, loaders)


def draw(start: int, epoch: int = 0, seed: int = 0, count: int = 23, transforms=STRONG) -> Draw:
    order = torch.randperm(count, generator=torch.Generator().manual_seed(epoch))
    return Draw(recipe(batch_size=5, transforms=transforms), seed, 0, epoch, order, start)


def same(one, other) -> bool:
    return torch.equal(one.inputs, other.inputs) and torch.equal(one.labels, other.labels)


@pytest.fixture(autouse=True)
def nothing_left():
    """No process of a loader outlives a test."""
    yield
    if multiprocessing.active_children():
        gc.collect()
    assert not multiprocessing.active_children()


def test_evaluation_resizes_crops_and_normalises():
    data = streamed()
    transform = create_transform(24, mean=MEAN, std=STD)
    expected = torch.stack([transform(Folder()(i)) for i in (7, 2)])
    found = data.batch(torch.tensor([7, 2]))
    assert torch.allclose(found.inputs, expected, atol=1e-5) and found.labels.tolist() == [2, 2]
    assert found.inputs.shape[1:] == data.shape == (3, 24, 24) and found.labels.dtype == torch.int64
    assert same(data.batch(slice(2, 4)), data.batch(torch.tensor([2, 3])))


@pytest.mark.parametrize("loaders", [0, 1, 2])
def test_chunks_are_the_whole_split_in_order(loaders):
    data = streamed(loaders)
    chunks = list(data.chunks(10))
    assert [len(chunk.labels) for chunk in chunks] == [10, 10, 3]
    assert torch.equal(torch.cat([chunk.labels for chunk in chunks]), data.labels)
    assert torch.equal(torch.cat([chunk.inputs for chunk in chunks]), streamed().batch(slice(None)).inputs)


@pytest.mark.parametrize("transforms", TRANSFORMS)
def test_training_batches_do_not_depend_on_loaders_nor_on_where_reading_starts(transforms):
    draws = [draw(start, transforms=TRANSFORMS[transforms]) for start in (0, 5, 10, 15)]
    expected = [streamed().training_batch(one) for one in draws]
    for loaders in (0, 1, 2):
        data = streamed(loaders)
        for position in (2, 3, 0, 1):
            assert same(data.training_batch(draws[position]), expected[position])


def test_augmentation_depends_on_seed_epoch_and_example_alone():
    data, first = streamed(), draw(0)
    before = data.training_batch(first).inputs
    assert not torch.equal(before, data.training_batch(draw(0, seed=1)).inputs)
    assert not torch.equal(before, data.training_batch(replace(first, epoch=1)).inputs)
    assert not torch.equal(before, data.batch(first.index).inputs)
    turned = data.training_batch(replace(first, order=first.order.flip(0), start=18, step=9))
    assert torch.equal(turned.inputs, before.flip(0))
    twice = data.training_batch(replace(first, order=torch.tensor([3, 3, 3, 4, 4])))
    assert torch.equal(twice.inputs[0], twice.inputs[2]) and not torch.equal(twice.inputs[0], twice.inputs[3])


@pytest.mark.parametrize("loaders", [0, 1])
def test_no_random_stream_of_the_process_is_disturbed(loaders):
    data = streamed(loaders)
    before = random.getstate(), np.random.get_state()[1:3], torch.get_rng_state()
    data.training_batch(draw(0, transforms=MIXED))
    list(data.chunks(10))
    assert random.getstate() == before[0]
    keys, position = np.random.get_state()[1:3]
    assert (keys == before[1][0]).all() and position == before[1][1]
    assert torch.equal(torch.get_rng_state(), before[2])
    data.close()


def test_the_processes_own_streams_have_no_influence():
    expected = streamed().training_batch(draw(0, transforms=MIXED))
    random.seed(9)
    np.random.seed(9)
    with torch.random.fork_rng():
        torch.manual_seed(9)
        assert same(streamed().training_batch(draw(0, transforms=MIXED)), expected)


def test_erasing_blackens_a_part_and_leaves_the_rest_of_an_image_as_it_is():
    plain = {"scale": [1.0, 1.0], "hflip": 0.0, "color_jitter": None}
    before = streamed().training_batch(draw(0, transforms=plain)).inputs
    after = streamed().training_batch(draw(0, transforms={**plain, "re_prob": 1.0})).inputs
    gone = ~torch.isclose(before, after, atol=1e-5)
    assert gone.flatten(1).any(dim=1).all() and 0.005 < gone.float().mean() < 0.5 and not after[gone].any()


def test_training_images_are_normalised():
    found = streamed().training_batch(draw(0, transforms={"no_aug": True})).inputs
    transform = create_transform(24, True, no_aug=True, mean=MEAN, std=STD)
    expected = torch.stack([transform(Folder()(i)) for i in draw(0).index.tolist()])
    assert torch.allclose(found, expected, atol=1e-5)


@pytest.mark.parametrize("loaders", [0, 2])
def test_an_image_that_cannot_be_read_is_named_when_its_batch_is_due(loaders):
    order = torch.arange(23)
    data, broken = streamed(loaders, broken=12), replace(draw(10), order=order)
    assert same(data.training_batch(replace(broken, start=5)), streamed().training_batch(replace(broken, start=5)))
    with pytest.raises(DataError, match=r"^folder/12.jpg is damaged$"):
        data.training_batch(broken)
    assert not multiprocessing.active_children()
    assert len(data.training_batch(replace(broken, start=15)).labels) == 5
    with pytest.raises(DataError, match=r"^folder/12.jpg is damaged$"):
        list(data.chunks(10))
    with pytest.raises(DataError, match=r"^folder/12.jpg is damaged$"):
        data.batch(torch.tensor([12]))
    data.close()


def test_loaders_end_with_the_epoch_when_closed_and_when_forgotten():
    data = streamed(2)
    children = []
    for start in (0, 5, 10, 15):
        data.training_batch(draw(start))
        children.append(len(multiprocessing.active_children()))
    assert children == [2, 2, 2, 0]
    data.training_batch(draw(0))
    assert [child.daemon for child in multiprocessing.active_children()] == [True, True]
    data.close()
    assert not multiprocessing.active_children()
    data.training_batch(draw(0))
    chunks = data.chunks(5)
    next(chunks)
    assert len(multiprocessing.active_children()) == 4
    del chunks
    assert len(multiprocessing.active_children()) == 2
    del data
    assert not multiprocessing.active_children()


def test_loaders_end_in_time_with_what_refers_to_itself():
    assert min(seconds_to_end_a_circle() for _ in range(3)) < 3  # a process forked beside threads may hang, if rarely


def seconds_to_end_a_circle() -> float:
    data = streamed(1)
    data.training_batch(draw(0))
    circle = [data]
    circle.append(circle)
    del data, circle
    start = time.monotonic()
    gc.collect()
    assert not multiprocessing.active_children()
    return time.monotonic() - start


def test_batches_are_read_ahead_and_not_again():
    data = streamed(1)
    data.training_batch(draw(0))
    children = multiprocessing.active_children()
    data.training_batch(draw(5))
    assert multiprocessing.active_children() == children
    data.training_batch(draw(0))
    assert multiprocessing.active_children() != children
    data.close()


def test_the_incomplete_end_of_an_epoch_is_read_when_asked_for():
    assert streamed().training_batch(draw(20)).labels.tolist() == (draw(20).index % 5).tolist()


def test_a_subset_counts_its_examples_from_zero():
    index = torch.tensor([9, 4, 6, 1, 0])
    data = streamed().subset(index)
    assert len(data) == 5 and data.labels.tolist() == [4, 4, 1, 1, 0]
    assert same(data.batch(slice(0, 2)), streamed().batch(torch.tensor([9, 4])))
    assert same(data.subset(torch.tensor([1, 3])).batch(slice(None)), streamed().batch(torch.tensor([4, 1])))
    assert same(data.to(torch.device("cpu")).batch(slice(None)), data.batch(slice(None)))


def test_the_digest_stands_for_content_choice_and_normalisation():
    data = streamed()
    listing = Listing(np.arange(23) % 5, Folder(), 24, 3, "content")
    others = [
        data.subset(torch.arange(22)),
        LazyExamples(replace(listing, digest="other"), MEAN, STD),
        LazyExamples(replace(listing, size=32), MEAN, STD),
        LazyExamples(listing, STD, STD),
    ]
    assert LazyExamples(listing, MEAN, STD, 2).digest() == data.digest() == data.subset(torch.arange(23)).digest()
    assert len({data.digest(), *(other.digest() for other in others)}) == 5


def test_a_recipe_that_does_not_fit_is_told():
    data = streamed()
    assert data.faults(recipe(transforms=STRONG)) == data.faults(recipe(transforms=MIXED)) == []
    assert "crop, flip: for images in memory" in data.faults(recipe(crop=4, flip=True))[0]
    assert "no_such" in data.faults(recipe(transforms={"no_such": 1}))[0]
    assert "mean, patchify cannot be set" in data.faults(recipe(transforms={"patchify": True, "mean": [0.5]}))[0]
    assert "AssertionError" in data.faults(recipe(transforms={"train_crop_mode": "middle"}))[0]


@pytest.mark.parametrize("transforms", [{"hflip": 0.5}, {"re_prob": 1.0, "re_mode": "const"}])
def test_another_normalisation_holds_in_training_and_evaluation(transforms):
    def pixels(batch, mean, std):
        mean, std = (torch.tensor(values).view(1, 3, 1, 1) for values in (mean, std))
        return batch.inputs * std + mean

    half = (0.5, 0.5, 0.5)
    plain = streamed()
    other = plain.renormalised(half, half)
    draws = [source.training_batch(draw(0, transforms=transforms)) for source in (plain, other)]
    kept = draws[0].inputs.ne(0) & draws[1].inputs.ne(0)  # what is not erased
    assert kept.float().mean() > 0.5
    assert torch.allclose(pixels(draws[0], MEAN, STD)[kept], pixels(draws[1], half, half)[kept], atol=1e-5)
    centred = [next(source.chunks(23)) for source in (plain, other)]
    assert torch.allclose(pixels(centred[0], MEAN, STD), pixels(centred[1], half, half), atol=1e-5)
    assert not torch.allclose(centred[0].inputs, centred[1].inputs, atol=0.1)
    assert other.digest() != plain.digest()
