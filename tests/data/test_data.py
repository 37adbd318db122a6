import hashlib
import pickle
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from sklearn.datasets import load_digits, make_moons
from torchvision import datasets

from lth_bench.data.batches import BatchOrder
from lth_bench.data.loading import examples as to_examples
from lth_bench.data.loading import held_out
from lth_bench.errors import DataError
from lth_bench.experiments.datasets import Dataset
from lth_bench.experiments.plugins import load_plugins
from lth_bench.running.worker import make_context
from lth_bench.storage.records import read_record
from support.images import write_idx
from support.networks import examples, recipe
from support.places import ROOT

DATASETS = load_plugins().datasets


@pytest.fixture(params=[False, True], ids=["plain", "gz"])
def mnist(tmp_path, request):
    for seed, name in enumerate(FOLDERS.values()):
        generator = np.random.default_rng(seed)
        for prefix, count in (("train", 30), ("t10k", 10)):
            path = tmp_path / name / "raw" / prefix
            images, labels = generator.integers(0, 256, (count, 28, 28)), generator.integers(0, 10, count)
            write_idx(path.with_name(f"{prefix}-images-idx3-ubyte"), images, request.param)
            write_idx(path.with_name(f"{prefix}-labels-idx1-ubyte"), labels, request.param)
    return tmp_path


FOLDERS = {"mnist": "MNIST", "fashion_mnist": "FashionMNIST"}


@pytest.mark.parametrize("name", FOLDERS)
def test_mnist_and_its_like_are_read_from_idx_files(mnist, name):
    images, labels = DATASETS[name].read("train", mnist)
    assert (images.shape, images.dtype, labels.shape, labels.dtype) == ((30, 1, 28, 28), np.uint8, (30,), np.int64)
    expected = np.random.default_rng(list(FOLDERS).index(name)).integers(0, 256, (30, 28, 28))
    assert (images[:, 0] == expected).all()
    assert len(DATASETS[name].read("test", mnist)[1]) == 10


@pytest.mark.parametrize("name", FOLDERS)
def test_absent_mnist_says_where_it_was_looked_for(tmp_path, name):
    words = rf"^{FOLDERS[name]} is not there: looked for .*train-images-idx3-ubyte and .*\.gz; get it with torchvision"
    with pytest.raises(DataError, match=words):
        DATASETS[name].read("train", tmp_path)
    with pytest.raises(DataError, match=rf"{FOLDERS[name]} needs .*--data DIR or LTH_BENCH_DATA"):
        DATASETS[name].read("train", None)


@pytest.mark.parametrize("damage", [lambda b: b[:-1], lambda b: b[:3], lambda b: b"abcd" + b[4:], lambda b: b + b"0"])
def test_damaged_mnist_is_refused_with_its_name(mnist, damage):
    for path in (mnist / "MNIST" / "raw").glob("train-images*"):
        path.write_bytes(damage(path.read_bytes()))
        with pytest.raises(DataError, match=path.name):
            DATASETS["mnist"].read("train", mnist)


CIFARS = {"cifar10": (datasets.CIFAR10, "labels"), "cifar100": (datasets.CIFAR100, "fine_labels")}


def pickled(path: Path, content: dict) -> list[str]:
    """Writes a file as torchvision's are; returns its name and MD5."""
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(pickle.dumps(content))
    return [path.name, hashlib.md5(path.read_bytes()).hexdigest()]


@pytest.fixture(params=CIFARS)
def cifar(tmp_path, request, monkeypatch):
    """A small CIFAR whose files torchvision takes for the published ones."""
    kind, labels = CIFARS[request.param]
    images = np.random.default_rng(0).integers(0, 256, (7, 3072), np.uint8)
    folder = tmp_path / kind.base_folder
    meta = pickled(folder / kind.meta["filename"], {kind.meta["key"]: ["a", "b"]})
    train = pickled(folder / "train", {"data": images[:4], labels: [3, 1, 2, 0]})
    more = pickled(folder / "more", {"data": images[4:6], labels: [9, 8]})
    test = pickled(folder / "test", {"data": images[6:], labels: [5]})
    monkeypatch.setattr(kind, "train_list", [train, more])
    monkeypatch.setattr(kind, "test_list", [test])
    monkeypatch.setattr(kind, "meta", {**kind.meta, "md5": meta[1]})
    return request.param, tmp_path, folder, images.reshape(-1, 3, 32, 32)


def test_cifar_is_read_as_torchvision_keeps_it(cifar):
    name, root, _, images = cifar
    found, labels = DATASETS[name].read("train", root)
    assert (found == images[:6]).all() and found.dtype == np.uint8 and found.flags.c_contiguous
    assert labels.tolist() == [3, 1, 2, 0, 9, 8] and labels.dtype == np.int64
    found, labels = DATASETS[name].read("test", root)
    assert (found == images[6:]).all() and labels.tolist() == [5]


def test_a_cifar_that_is_absent_or_not_the_published_one_is_refused_with_the_file(cifar):
    name, root, folder, _ = cifar
    with pytest.raises(DataError, match="--data DIR or LTH_BENCH_DATA"):
        DATASETS[name].read("test", None)
    folder.joinpath("more").write_bytes(folder.joinpath("more").read_bytes()[:-1])
    with pytest.raises(DataError, match=r"more is damaged: its MD5 is not [0-9a-f]{32}; get it again with torchvision"):
        DATASETS[name].read("test", root)
    folder.joinpath("more").unlink()
    with pytest.raises(DataError, match=r"is not there: looked for .*more; get it with torchvision.datasets.CIFAR"):
        DATASETS[name].read("test", root)


def test_a_pickle_that_is_not_the_published_one_is_not_opened(cifar):
    name, root, folder, _ = cifar
    ran = root / "ran"
    folder.joinpath("train").write_bytes(b"cposix\nsystem\n(S'touch " + str(ran).encode() + b"'\ntR.")
    with pytest.raises(DataError, match="damaged"):
        DATASETS[name].read("train", root)
    assert not ran.exists()


def test_digits_has_a_fixed_split_without_overlap():
    (train, train_labels), (test, test_labels) = (DATASETS["digits"].read(split, None) for split in ("train", "test"))
    assert (train.shape, test.shape, train.dtype) == ((1397, 1, 8, 8), (400, 1, 8, 8), np.uint8)
    assert set(train_labels) == set(test_labels) == set(range(10))
    source, labels = load_digits(return_X_y=True)
    whole = np.concatenate([train, test]).reshape(-1, 64).tolist()
    assert sorted(whole) == sorted(np.round(source * 255 / 16).astype(int).tolist())
    shares = np.bincount(test_labels) / np.bincount(labels)
    assert np.ptp(shares) * 180 < 2  # images of a class
    dataset = DATASETS["digits"]
    assert train.mean() / 255 == pytest.approx(dataset.mean[0], abs=2e-3)
    assert train.std() / 255 == pytest.approx(dataset.std[0], abs=2e-3)


def test_digits_are_those_of_the_published_records():
    record = read_record(min((ROOT / "leaderboards" / "quickstart" / "records").glob("*.json")))
    context = make_context(None, "cpu")
    digests = context.read(record.experiment.dataset).digest, context.test(record.experiment.dataset).digest()
    assert digests == (record.data.training, record.data.test)


def test_digits_are_read_without_the_import_of_scikit_learn():
    code = (
        "import sys; from lth_bench_plugins.digits import read; assert len(read('train', None)[1]) == 1397; "
        "assert not {'sklearn', 'scipy'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_moons_are_those_of_scikit_learn_in_steps_of_a_64th():
    for split, count, seed in (("train", 1400, 0), ("test", 1000, 1)):
        images, labels = DATASETS["moons"].read(split, None)
        points, classes = make_moons(count, noise=0.15, random_state=seed)
        assert (images.dtype, images.shape) == (np.uint8, (count, 2, 1, 1)) and (labels == classes).all()
        assert np.abs((images[:, :, 0, 0] - 128.0) / 64 + [0.5, 0.25] - points).max() <= 1 / 128


def test_noise_has_the_shape_and_the_classes_that_are_asked_for_and_is_always_the_same():
    noise = DATASETS["noise"](size=5, channels=2, classes=1000)()
    for split, count in (("train", 320), ("test", 20)):
        images, labels = noise.read(split, None)
        assert (images.dtype, images.shape) == (np.uint8, (count, 2, 5, 5))
        assert labels.tolist() == list(range(count))
        assert (images == noise.read(split, None)[0]).all()
    images, _ = noise.read("train", None)
    assert len(noise.mean) == len(noise.std) == 2 and noise.classes == 1000
    assert np.allclose(images.mean() / 255, noise.mean, atol=0.01)
    assert np.allclose(images.std() / 255, noise.std, atol=0.01)


def test_a_data_set_that_reads_something_else_is_refused():
    images, labels = np.zeros((4, 1, 2, 2), np.uint8), np.array([0, 1, 2, 9])
    dataset = Dataset("toy", 10, (0.5,), (0.5,), 1, lambda split, root: (images, labels))
    assert len(to_examples(dataset, (images, labels))) == 4
    for arrays in (
        (images.astype(float), labels),
        (images[:, 0], labels),
        (images, labels.astype(np.int32)),
        (images, labels + 1),
    ):
        with pytest.raises(DataError, match=r"toy: (images|labels) must"):
            to_examples(dataset, arrays)


def test_validation_is_held_out_of_training_and_the_same_for_every_seed():
    data = examples(50)
    training, validation = held_out(data, 15)
    rows = torch.cat([training.images, validation.images]).flatten(1)
    assert (len(training), len(validation), len(rows.unique(dim=0))) == (35, 15, 50)
    assert torch.equal(held_out(data, 15)[1].images, validation.images)


def test_a_stream_can_be_sought_at_any_step():
    stream, other = BatchOrder(examples(50), recipe(batch_size=8), 1), BatchOrder(examples(50), recipe(batch_size=8), 1)
    in_order = [stream.batch(step).inputs for step in range(20)]
    for step in (19, 3, 11, 0):
        assert torch.equal(other.batch(step).inputs, in_order[step])
    with pytest.raises(ValueError, match="batch_size is 51, but there are only 50"):
        BatchOrder(examples(50), recipe(batch_size=51), 0)


def test_what_is_done_to_a_batch_stays_with_its_taker():
    stream = BatchOrder(examples(50), recipe(batch_size=8), 1)
    first, second = (stream.batch(step).inputs.clone() for step in (0, 1))
    stream.batch(0).inputs.zero_()
    assert torch.equal(stream.batch(1).inputs, second)
    assert torch.equal(stream.batch(0).inputs, first)
