import hashlib
import http.server
import pickle
import tarfile
import threading
from functools import partial

import numpy as np
import pytest
from PIL import Image
from torchvision import datasets

from lth_bench.errors import DataError
from lth_bench.experiments.plugins import load_plugins
from lth_bench_plugins.images import Images
from support.images import encoded, write_idx

DATASETS = load_plugins().datasets


def pixels(*key: object, shape: tuple[int, ...] = (6, 5, 3)) -> np.ndarray:
    """The image of this class and number."""
    seed = int.from_bytes(hashlib.sha256(repr(key).encode()).digest()[:4], "big")
    return np.random.default_rng(seed).integers(0, 256, shape, np.uint8)


def put(folder, split, category, count) -> None:
    (folder / split / category).mkdir(parents=True, exist_ok=True)
    for i in range(count):
        (folder / split / category / f"{i}.png").write_bytes(encoded(pixels(split, category, i)))


@pytest.fixture
def folder(tmp_path):
    """Classes a, B and c of three training and two test images each."""
    for category in ("c", "a", "B"):
        put(tmp_path / "set", "train", category, 3)
        put(tmp_path / "set", "val", category, 2)
    return tmp_path / "set"


def pack(folder, path, prefix="") -> bytes:
    """A folder's files as a tar file."""
    with tarfile.open(path, "w", format=tarfile.GNU_FORMAT) as tar:
        for file in sorted(folder.rglob("*")):
            tar.add(file, f"{prefix}{file.relative_to(folder)}", recursive=False)
    return path.read_bytes()


def read(folder, split="train", **arguments):
    return Images(folder.name, **arguments)().read(split, folder.parent)


def expected(split, count) -> np.ndarray:
    images = [pixels(split, category, i) for category in ("B", "a", "c") for i in range(count)]
    return np.stack(images).transpose(0, 3, 1, 2)


def check(folder) -> None:
    """That a set holds what the fixture `folder` made."""
    for split, name, count in (("train", "train", 3), ("test", "val", 2)):
        images, labels = read(folder, split)
        assert (images == expected(name, count)).all() and images.dtype == np.uint8
        assert labels.tolist() == [label for label in range(3) for _ in range(count)] and labels.dtype == np.int64


def test_folders_are_read_in_the_order_of_their_names(folder):
    check(folder)


@pytest.mark.parametrize("prefix", ["", "./", "train/"])
def test_tar_files_of_folders_are_read(folder, prefix):
    target = folder.with_name("packed")
    target.mkdir()
    for split in ("train", "val"):
        pack(folder / split, target / f"{split}.tar", prefix)
    check(target)


def test_tar_files_of_tar_files_are_read_and_folders_of_them(folder):
    nested, flat = folder.with_name("nested"), folder.with_name("flat")
    for split in ("train", "val"):
        for category in ("a", "B", "c"):
            (flat / split).mkdir(parents=True, exist_ok=True)
            pack(folder / split / category, flat / split / f"{category}.tar")
        nested.mkdir(exist_ok=True)
        pack(flat / split, nested / f"{split}.tar")
    check(flat)
    check(nested)


def test_a_listing_opens_each_image_when_it_is_needed(folder):
    pack(folder / "val", folder / "test.tar")
    for split, name, count in (("train", "train", 3), ("test", "val", 2)):
        listing = read(folder, split, size=16)
        assert (listing.size, listing.channels, listing.labels.dtype) == (16, 3, np.int64)
        found = [listing.open(i) for i in range(len(listing.labels))]
        assert {image.mode for image in found} == {"RGB"}
        assert (np.stack(found).transpose(0, 3, 1, 2) == expected(name, count)).all()


def test_the_digest_of_a_listing_changes_with_names_sizes_and_labels(folder):
    before = read(folder, size=16).digest
    assert read(folder, size=16).digest == before != read(folder, "test", size=16).digest
    pack(folder / "train", folder.parent / "train.tar")
    file = folder / "train" / "a" / "1.png"
    content = file.read_bytes()
    file.write_bytes(content + b"0")
    assert read(folder, size=16).digest != before
    file.write_bytes(content)
    assert read(folder, size=16).digest == before
    file.rename(file.with_name("9.png"))
    assert read(folder, size=16).digest != before


def test_grey_is_asked_for_by_one_mean(folder):
    images, _ = read(folder, mean=(0.5,), std=(0.2,))
    grey = np.asarray(Image.fromarray(pixels("train", "B", 0)).convert("L"))
    assert images.shape == (9, 1, 6, 5) and (images[0, 0] == grey).all()
    assert read(folder, mean=(0.5,), std=(0.2,), size=8).open(0).mode == "L"
    with pytest.raises(ValueError, match="one value for grey or three for RGB"):
        Images("set", mean=(0.5, 0.5), std=(0.2, 0.2))


def test_images_of_two_sizes_need_a_size(folder):
    (folder / "train" / "a" / "2.png").write_bytes(encoded(pixels(shape=(4, 5, 3))))
    with pytest.raises(DataError, match=r"a/2.png has 4×5 pixels, but .*B/0.png has 6×5; or give `size`"):
        read(folder)
    assert read(folder, size=8).open(5).size == (5, 4)


def test_classes_that_differ_between_splits_are_refused_by_name(folder):
    put(folder, "val", "d", 1)
    for split in ("train", "test"):
        with pytest.raises(DataError, match=r"images in .*set differ: only in test: d$"):
            read(folder, split)
    put(folder, "train", "e", 1)
    with pytest.raises(DataError, match="only in train: e; only in test: d"):
        read(folder)


def test_what_is_absent_or_lies_wrongly_is_told(folder):
    put(folder.with_name("other"), "train", "a", 1)
    with pytest.raises(DataError, match=r"test images of .* are not there: looked for test, test.tar, val, val.tar"):
        read(folder.with_name("other"))
    with pytest.raises(DataError, match="images needs a data root that holds set"):
        Images("set")().read("train", None)
    (folder / "train" / "0.png").write_bytes(encoded(pixels()))
    with pytest.raises(DataError, match=r"0.png lies in no folder"):
        read(folder)
    for split in ("train", "val"):
        put(folder.with_name("one"), split, "images", 2)
        (folder.with_name("none") / split / "a").mkdir(parents=True)
    with pytest.raises(DataError, match="are of one class, images"):
        read(folder.with_name("one"))
    with pytest.raises(DataError, match="none/train holds no images"):
        read(folder.with_name("none"))


@pytest.mark.parametrize("packed", [False, True])
def test_images_of_kinds_that_are_not_read_are_refused_and_notes_are_not(folder, packed):
    (folder / "train" / "a" / "notes.txt").write_text("no image")
    check(folder)
    for i in range(2):
        (folder / "train" / "a" / f"{i}.WebP").write_bytes(b"RIFF")
    (folder / "train" / "c" / "0.tiff").write_bytes(b"II")
    if packed:
        pack(folder / "train", folder / "train.tar")
        (folder / "train").rename(folder / "unpacked")
    with pytest.raises(DataError, match=r"not read \(1 .tiff, 2 .webp; a/0.WebP for one\): only JPEG and PNG are"):
        read(folder)


def test_the_class_is_the_whole_way_to_an_image_below_the_folder_of_all(tmp_path):
    for split, count in (("train", 3), ("val", 2)):
        for category in ("c", "a", "B"):
            put(tmp_path / "deep", split, f"{category}/images", count)
    images, labels = read(tmp_path / "deep")
    assert labels.tolist() == [0, 0, 0, 1, 1, 1, 2, 2, 2] and len(images) == 9


DAMAGES = {"truncated": lambda b: b[:-30], "text": lambda b: b"no image", "empty": lambda b: b""}


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_image_is_refused_with_its_name(folder, damage):
    file = folder / "train" / "a" / "1.png"
    file.write_bytes(DAMAGES[damage](file.read_bytes()))
    with pytest.raises(DataError, match=r"a/1.png is (damaged|no image)"):
        read(folder)
    listing = read(folder, size=8)
    listing.open(3)
    with pytest.raises(DataError, match=r"a/1.png is (damaged|no image)"):
        listing.open(4)
    pack(folder / "train", folder / "train.tar")
    (folder / "train").rename(folder / "gone")
    with pytest.raises(DataError, match=r"train.tar:a/1.png is (damaged|no image)"):
        read(folder)


def test_a_file_that_changes_after_it_was_listed_is_refused(folder):
    listing, file = read(folder, size=8), folder / "train" / "B" / "0.png"
    file.write_bytes(file.read_bytes()[:-5])
    with pytest.raises(DataError, match=r"B/0.png has changed since it was listed"):
        listing.open(0)
    file.unlink()
    with pytest.raises(DataError, match=r"B/0.png cannot be read: No such file"):
        listing.open(0)


def test_a_truncated_or_damaged_tar_file_is_refused_wherever_it_is_cut(folder):
    tar = folder / "train.tar"
    content = pack(folder / "train", tar)
    (folder / "train").rename(folder / "gone")
    assert len(read(folder)[1]) == 9
    end = content.rstrip(b"\0")
    for cut in (0, 100, 512, 1024, 1536, 2048, len(end) // 2, len(end) // 1024 * 512, len(end)):
        tar.write_bytes(content[:cut])
        with pytest.raises(DataError, match=r"train.tar"):
            read(folder)
    header = content.index(b"a/1.png")
    tar.write_bytes(content[:header] + b"b" + content[header + 1 :])
    with pytest.raises(DataError, match=r"train.tar is damaged or truncated at byte"):
        read(folder)


def test_links_in_a_tar_file_are_refused_rather_than_left_out(folder):
    link = folder / "train" / "a" / "7.png"
    link.symlink_to("0.png")
    pack(folder / "train", folder / "train.tar")
    (folder / "train").rename(folder / "gone")
    with pytest.raises(DataError, match=r"train.tar:a/7.png is a link"):
        read(folder)


def test_nothing_is_written_beside_the_data_and_no_pickle_is_opened(folder):
    (folder / "train").rename(folder / "gone")
    pack(folder / "gone", folder / "train.tar")
    ran = folder.parent / "ran"
    pickled = b"cposix\nsystem\n(S'touch " + str(ran).encode() + b"'\ntR."
    for name in ("_train_tarinfos.pickle", "class_map.pkl"):
        (folder / name).write_bytes(pickled)
    before = {file: file.stat().st_mtime_ns for file in folder.rglob("*")}
    assert len(read(folder)[1]) == len(read(folder, size=8).labels) == 9
    assert {file: file.stat().st_mtime_ns for file in folder.rglob("*")} == before
    assert not ran.exists()


# -- what torchvision fetches ----------------------------------------------------------------------------------------


@pytest.fixture
def server(tmp_path, monkeypatch):
    """A folder and the address under which it is served."""
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    folder = tmp_path / "served"
    folder.mkdir()
    handler = type("Quiet", (http.server.SimpleHTTPRequestHandler,), {"log_message": lambda *_: None})
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), partial(handler, directory=folder)) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.05,))
        thread.start()
        yield folder, f"http://127.0.0.1:{server.server_address[1]}/"
        server.shutdown()
        thread.join()


def md5(path) -> str:
    return hashlib.md5(path.read_bytes()).hexdigest()


def test_mnist_is_fetched_and_can_be_read_then(server, tmp_path, monkeypatch):
    served, address = server
    for name in ("train-images-idx3-ubyte", "t10k-images-idx3-ubyte"):
        write_idx(served / name, pixels(name, shape=(4, 28, 28)), zipped=True)
        write_idx(served / name.replace("images-idx3", "labels-idx1"), np.arange(4), zipped=True)
    files = sorted(served.iterdir())
    monkeypatch.setattr(datasets.MNIST, "mirrors", [address])
    monkeypatch.setattr(datasets.MNIST, "resources", [(file.name, md5(file)) for file in files])
    DATASETS["mnist"].download(tmp_path / "root")
    images, labels = DATASETS["mnist"].read("test", tmp_path / "root")
    assert (images[:, 0] == pixels("t10k-images-idx3-ubyte", shape=(4, 28, 28))).all()
    assert labels.tolist() == [0, 1, 2, 3]
    monkeypatch.setattr(datasets.MNIST, "resources", [(file.name, "0" * 32) for file in files])
    with pytest.raises(DataError, match=rf"^MNIST could not be fetched from {address} into .*corrupted"):
        DATASETS["mnist"].download(tmp_path / "other")


def test_cifar_is_fetched_and_can_be_read_then(server, tmp_path, monkeypatch):
    served, address = server
    kind, contents = datasets.CIFAR100, served / "cifar-100-python"
    contents.mkdir()
    rows = {name: pixels(name, shape=(3, 3072)) for name in ("train", "test")}
    for name, data in rows.items():
        contents.joinpath(name).write_bytes(pickle.dumps({"data": data, "fine_labels": [1, 2, 0]}))
    contents.joinpath("meta").write_bytes(pickle.dumps({"fine_label_names": ["a", "b", "c"]}))
    with tarfile.open(served / kind.filename, "w:gz") as tar:
        tar.add(contents, contents.name)
    monkeypatch.setattr(kind, "url", address + kind.filename)
    monkeypatch.setattr(kind, "tgz_md5", md5(served / kind.filename))
    monkeypatch.setattr(kind, "train_list", [["train", md5(contents / "train")]])
    monkeypatch.setattr(kind, "test_list", [["test", md5(contents / "test")]])
    monkeypatch.setattr(kind, "meta", {**kind.meta, "md5": md5(contents / "meta")})
    DATASETS["cifar100"].download(tmp_path / "root")
    images, labels = DATASETS["cifar100"].read("train", tmp_path / "root")
    assert (images.reshape(3, -1) == rows["train"]).all() and labels.tolist() == [1, 2, 0]
    monkeypatch.setattr(kind, "tgz_md5", "0" * 32)
    with pytest.raises(DataError, match=rf"CIFAR100 could not be fetched from {address}.*corrupted"):
        DATASETS["cifar100"].download(tmp_path / "other")


@pytest.mark.parametrize("name", ["mnist", "fashion_mnist", "cifar10", "cifar100"])
def test_a_server_that_does_not_answer_is_named(name, tmp_path, monkeypatch):
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    closed = "http://127.0.0.1:9/"
    for kind in (datasets.MNIST, datasets.FashionMNIST):
        monkeypatch.setattr(kind, "mirrors", [closed])
    for kind in (datasets.CIFAR10, datasets.CIFAR100):
        monkeypatch.setattr(kind, "url", closed + kind.filename)
    with pytest.raises(DataError, match=rf"could not be fetched from {closed}.* into {tmp_path}: .*refused"):
        DATASETS[name].download(tmp_path)
