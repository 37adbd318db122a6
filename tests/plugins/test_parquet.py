import numpy as np
import pytest

from lth_bench.errors import DataError
from lth_bench_plugins.parquet import Parquet
from support.images import encoded

pa = pytest.importorskip("pyarrow")
pq = pytest.importorskip("pyarrow.parquet")


def pixels(count: int, seed: int = 0, shape: tuple[int, ...] = (6, 5, 3)) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (count, *shape), np.uint8)


def write(path, contents, labels, image="img", label="label") -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    images = [content if content is None else {"bytes": content, "path": None} for content in contents]
    kind = pa.struct([("bytes", pa.binary()), ("path", pa.string())])
    pq.write_table(pa.table({image: pa.array(images, kind), label: pa.array(labels, pa.int64())}), path)


@pytest.fixture
def folder(tmp_path):
    """Seven training images in two files and three test images, as PNG."""
    images = [encoded(image) for image in pixels(10)]
    write(tmp_path / "set" / "train-00000-of-00002.parquet", images[:4], [0, 1, 2, 0])
    write(tmp_path / "set" / "train-00001-of-00002.parquet", images[4:7], [1, 2, 0])
    write(tmp_path / "set" / "test-00000-of-00001.parquet", images[7:], [2, 1, 0])
    return tmp_path / "set"


def read(folder, split="train", **arguments):
    return Parquet(folder.name, **arguments)().read(split, folder.parent)


def test_a_split_is_read_from_all_its_files_in_order(folder):
    images, labels = read(folder)
    assert (images.dtype, labels.dtype, labels.tolist()) == (np.uint8, np.int64, [0, 1, 2, 0, 1, 2, 0])
    assert (images == pixels(10)[:7].transpose(0, 3, 1, 2)).all()
    assert (read(folder, "test")[0] == pixels(10)[7:].transpose(0, 3, 1, 2)).all()


def test_files_may_lie_in_data_and_the_test_split_may_be_called_validation(folder):
    before = read(folder, "test")
    (folder / "data").mkdir()
    for path in folder.glob("*.parquet"):
        path.rename(folder / "data" / path.name.replace("test", "validation"))
    for found, wanted in zip(read(folder, "test"), before, strict=True):
        assert (found == wanted).all()
    assert len(read(folder)[1]) == 7


def test_a_path_may_be_absolute_and_needs_no_root_then(folder):
    assert len(Parquet(str(folder))().read("train", None)[1]) == 7
    with pytest.raises(DataError, match="parquet needs a data root that holds set: give one with --data DIR"):
        Parquet("set")().read("train", None)


def test_columns_of_other_names_are_found_or_named(tmp_path):
    path = tmp_path / "set" / "train-0.parquet"
    write(path, map(encoded, pixels(2)), [3, 4], "image", "fine_label")
    assert read(path.parent, label="fine_label")[1].tolist() == [3, 4]
    with pytest.raises(DataError, match=r"train-0.parquet has no column label; it has: image, fine_label"):
        read(path.parent)
    write(path, map(encoded, pixels(2)), [3, 4], "picture")
    with pytest.raises(DataError, match=r"no column img or image; it has: picture, label"):
        read(path.parent)


def test_jpeg_and_grey_images_are_decoded_and_grey_stays_one_channel(tmp_path):
    path, grey = tmp_path / "set" / "train-0.parquet", pixels(2, shape=(6, 5))
    write(path, [encoded(image) for image in grey], [0, 1])
    assert (read(path.parent)[0] == grey[:, None]).all()
    write(path, [encoded(grey[0]), encoded(pixels(1)[0])], [0, 1])
    assert (read(path.parent)[0][0] == grey[0]).all() and read(path.parent)[0].shape == (2, 3, 6, 5)
    flat = np.full((6, 5, 3), 90, np.uint8)
    write(path, [encoded(flat, "JPEG")], [0])
    assert abs(read(path.parent)[0].astype(int) - 90).max() < 3


def test_images_of_two_sizes_are_refused_with_their_rows(tmp_path):
    path = tmp_path / "set" / "train-0.parquet"
    write(path, [encoded(pixels(1)[0]), encoded(pixels(1, shape=(4, 5, 3))[0])], [0, 1])
    with pytest.raises(
        DataError, match=r"one size: row 1 of .*train-0.parquet has 4×5 pixels, but row 0 of .* has 6×5"
    ):
        read(path.parent)


GOOD = encoded(pixels(1)[0])
NOISE = encoded(pixels(1, shape=(60, 50, 3))[0], "JPEG")
ROWS = {
    "text": ((b"no image", 0), "row 1 of .*train-0.parquet is no image: neither JPEG nor PNG"),
    "truncated PNG": ((GOOD[:-30], 0), "row 1 of .* is damaged"),
    "truncated JPEG": ((NOISE[: len(NOISE) // 2], 0), "row 1 of .* is damaged.*truncated"),
    "empty": ((b"", 0), "row 1 of .* is no image"),
    "absent": ((None, 0), "row 1 of .* holds no image"),
    "no label": ((GOOD, None), "row 1 of .* has no label.*None"),
    "test set without labels": ((GOOD, -1), "row 1 of .* has no label.*-1"),
}


@pytest.mark.parametrize("row", ROWS)
def test_a_row_that_is_no_labelled_image_is_refused_with_its_number(tmp_path, row):
    (content, label), words = ROWS[row]
    path = tmp_path / "set" / "train-0.parquet"
    write(path, [GOOD, content, GOOD], [0, label, 1])
    with pytest.raises(DataError, match=words):
        read(path.parent)


def test_pixels_of_more_than_eight_bits_are_refused(tmp_path):
    path = tmp_path / "set" / "train-0.parquet"
    write(path, [encoded(pixels(1, shape=(6, 5))[0].astype(np.uint16) * 200)], [0])
    with pytest.raises(DataError, match="more than 8 bits"):
        read(path.parent)


@pytest.mark.parametrize("damage", [lambda b: b[:-1], lambda b: b[: len(b) // 2], lambda b: b"", lambda b: b"P" * 99])
def test_a_damaged_file_is_refused_with_its_name(folder, damage):
    path = folder / "train-00001-of-00002.parquet"
    path.write_bytes(damage(path.read_bytes()))
    with pytest.raises(DataError, match=r"train-00001-of-00002.parquet is damaged or truncated"):
        read(folder)


def test_what_is_absent_is_told_with_where_it_was_looked_for(folder):
    with pytest.raises(
        DataError, match=r"other is not there: looked for train-\*.parquet in it and in data/; get it with"
    ):
        read(folder.with_name("other"))
    (folder / "train-00000-of-00002.parquet").unlink()
    with pytest.raises(DataError, match=r"holds 1 of 2 files train-\*.parquet"):
        read(folder)


def test_files_without_rows_are_refused(tmp_path):
    write(tmp_path / "set" / "train-0.parquet", [], [])
    with pytest.raises(DataError, match="holds no train images"):
        read(tmp_path / "set")


def test_mean_and_deviation_are_given_together_or_not_at_all():
    given = Parquet("set", mean=(0.5,), std=(0.2,))()
    assert (given.mean, given.std, given.classes, Parquet("set")().mean) == ((0.5,), (0.2,), None, None)
    with pytest.raises(ValueError, match="go together"):
        Parquet("set", mean=(0.5,))
