"""Images in folders or tar files, a folder per class."""

from __future__ import annotations

import hashlib
import io
import os
import tarfile
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Annotated, NamedTuple

from annotated_types import Interval

from lth_bench import Count, DataError, Dataset, hookimpl
from lth_bench.experiments.datasets import Listing

if TYPE_CHECKING:
    import numpy as np

FORMATS = ("JPEG", "PNG")
GREY = ("1", "L", "LA")
MODES = {1: "L", 3: "RGB"}
SPLITS = {"train": ("train",), "test": ("test", "val", "validation")}

Mean = tuple[Annotated[float, Interval(ge=0, le=1)], ...]
Std = tuple[Annotated[float, Interval(gt=0, le=1)], ...]


def absolute(path, root, name):
    """Where a path below the data root is; raises DataError if there is no root."""
    if root is None and not Path(path).is_absolute():
        raise DataError(f"{name} needs a data root that holds {path}: give one with --data DIR or LTH_BENCH_DATA")
    return Path(root or "/") / path


def decoded(content, name, mode=None):
    """A JPEG or PNG file as a PIL image, in RGB or, where it is grey, in L; raises DataError with its name."""
    from PIL import Image, UnidentifiedImageError

    try:
        image = Image.open(io.BytesIO(content), formats=FORMATS)
        image.load()
        return _converted(image, mode)
    except UnidentifiedImageError as error:
        raise DataError(f"{name} is no image: neither {' nor '.join(FORMATS)}") from error
    except Exception as error:  # a decoder raises whatever it stumbles over
        raise DataError(f"{name} is damaged, or no image that can be read: {error}") from error


def _converted(image, mode):
    if image.mode[0] in "IF":
        raise ValueError(f"its pixels ({image.mode}) have more than 8 bits")
    mode = mode or ("L" if image.mode in GREY else "RGB")
    if "transparency" in image.info:
        image = image.convert("RGBA")
    return image if image.mode == mode else image.convert(mode)


def stacked(images, count, advice=""):
    """Pixels N×C×H×W, uint8, of so many pairs of a name and a PIL image; grey ones become RGB where any is.

    Raises DataError if their sizes differ.
    """
    import numpy as np

    stack, first = None, ""
    for i, (name, image) in enumerate(images):
        pixels = np.atleast_3d(np.asarray(image)).transpose(2, 0, 1)
        if stack is None:
            stack, first = np.empty((count, *pixels.shape), np.uint8), name
        if pixels.shape[1:] != stack.shape[2:]:
            sizes = f"{name} has {_size(pixels)} pixels, but {first} has {_size(stack)}"
            raise DataError(f"images in memory must have one size: {sizes}{advice}")
        if len(pixels) > stack.shape[1]:
            stack = stack.repeat(len(pixels), axis=1)
        stack[i] = pixels
    return stack


def _size(pixels):
    return "×".join(map(str, pixels.shape[-2:]))


class Place(NamedTuple):
    """Where an image is: its name in the split, its class, a file, and which bytes of it."""

    name: str
    category: str
    path: str
    offset: int
    size: int


@dataclass(frozen=True)
class Opener:
    """Opens image i of a split; a few arrays, so that processes share them."""

    names: np.ndarray
    paths: np.ndarray
    offsets: np.ndarray
    sizes: np.ndarray
    mode: str

    def __call__(self, i):
        path, size = Path(os.fsdecode(self.paths[i])), int(self.sizes[i])
        try:
            with path.open("rb") as file:
                file.seek(int(self.offsets[i]))
                content = file.read(size)
        except OSError as error:
            raise DataError(f"{path} cannot be read: {error.strerror}") from error
        if len(content) != size:
            raise DataError(f"{self.name(i)} has changed since it was listed: {len(content)} bytes instead of {size}")
        return decoded(content, self.name(i), self.mode)

    def name(self, i):
        path, name = os.fsdecode(self.paths[i]), os.fsdecode(self.names[i])
        return path if path.endswith(name) else f"{path}:{name}"


@dataclass(frozen=True)
class Images:
    """Images in train/ and val/ (or test/, validation/), a folder per class, or in tar files of these names.

    Folders are read through timm's reader; an image's class is the folder it lies in, and classes are numbered in
    alphabetical order. `train.tar` may hold folders or a tar file per class, and so may `train/` hold tar files.
    Without `size`, images are held in memory and must have one size; with it they are read as they are needed and
    networks see squares of so many pixels. One value of `mean` and `std` stands for grey, three for RGB. The digest of
    what is read as it is needed is that of names, sizes in bytes and labels, not of the pixels.
    """

    path: str
    size: Count | None = None
    validation: Count = 5000
    mean: Mean = (0.485, 0.456, 0.406)
    std: Std = (0.229, 0.224, 0.225)

    def __post_init__(self):
        if len(self.mean) != len(self.std) or len(self.mean) not in MODES:
            raise ValueError("mean and std have one value for grey or three for RGB")

    def __call__(self):
        return Dataset(f"images in {self.path}", None, self.mean, self.std, self.validation, self.read)

    def read(self, split, root):
        import numpy as np

        folder = absolute(self.path, root, "images")
        found = {name: sorted(_places(_located(folder, name))) for name in SPLITS}
        classes = _classes(folder, found)
        labels = np.array([classes[place.category] for place in found[split]], np.int64)
        opener = self._opener(found[split])
        if self.size is not None:
            digest, stamp = _digest(found[split], labels), _stamp(found[split])
            return Listing(labels, opener, self.size, len(self.mean), digest, stamp)
        images = ((opener.name(i), opener(i)) for i in range(len(labels)))
        return stacked(images, len(labels), "; or give `size` to have them resized"), labels

    def _opener(self, places):
        import numpy as np

        names, paths = (np.array([os.fsencode(place[field]) for place in places]) for field in (0, 2))
        offsets, sizes = (np.array([place[field] for place in places], np.int64) for field in (3, 4))
        return Opener(names, paths, offsets, sizes, MODES[len(self.mean)])


def _located(folder, split):
    known = [place for name in SPLITS[split] for place in (folder / name, folder / f"{name}.tar")]
    found = next((place for place in known if place.exists()), None)
    if found is None:
        names = ", ".join(place.name for place in known)
        raise DataError(
            f"the {split} images of {folder} are not there: looked for {names} in it; put a folder per class into one, "
            "or give another root with --data"
        )
    return found


def _places(location):
    """All images of a split."""
    if location.suffix == ".tar":
        return _in_tar(location, "")
    tars = sorted(location.glob("*.tar"))
    if tars and not any(child.is_dir() for child in location.iterdir()):
        return [place for tar in tars for place in _in_tar(tar, tar.stem)]
    return _in_folder(location)


def _in_folder(folder):
    from timm.data.readers import create_reader

    try:
        paths = create_reader("", root=str(folder)).filenames(absolute=True)
    except (RuntimeError, OSError, ValueError) as error:
        raise DataError(f"{folder} holds no images that can be read: {error}") from error
    return [_in_class(path.removeprefix(f"{folder}/"), path, 0, _bytes(path)) for path in paths]


def _bytes(path):
    """The size of a file."""
    try:
        return Path(path).stat().st_size
    except OSError as error:
        raise DataError(f"{path} cannot be read: {error.strerror}") from error


def _in_class(name, path, offset, size):
    category = PurePosixPath(name).parent.name
    if not category:
        raise DataError(f"{path}: {name} lies in no folder; an image's class is the folder it lies in")
    return Place(name, category, path, offset, size)


def _in_tar(path, prefix):
    try:
        with tarfile.open(path, "r:") as tar:
            return list(_members(tar, path, prefix, 0))
    except (tarfile.TarError, OSError, EOFError, ValueError) as error:
        raise DataError(f"{path} is damaged, or no tar file that can be read: {error}") from error


def _members(tar, path, prefix, start):
    """The images in a tar file that starts at this byte of a file, and in the tar files within it."""
    from timm.data.readers.img_extensions import get_img_extensions

    while (member := tar.next()) is not None:
        tar.members = []  # else it keeps them all
        name, offset = PurePosixPath(prefix, member.name), start + member.offset_data
        if name.suffix.lower() == ".tar" and member.isfile():
            with tarfile.open(fileobj=tar.extractfile(member), mode="r:") as inner:
                yield from _members(inner, path, str(name.with_suffix("")), offset)
        elif name.suffix.lower() in get_img_extensions():
            if not member.isfile() or member.issparse():
                raise DataError(f"{path}:{name} is a link or has holes; pack the images as plain files")
            yield _in_class(str(name), str(path), offset, member.size)
    _check_end(tar, path, start)


def _check_end(tar, path, start):
    """tarfile takes a broken header for the end; the real one is a block of zeros."""
    tar.fileobj.seek(tar.offset)
    if tar.fileobj.read(tarfile.BLOCKSIZE) != bytes(tarfile.BLOCKSIZE):
        raise DataError(f"{path} is damaged or truncated at byte {start + tar.offset}")


def _classes(folder, found):
    """The number of every class, by name."""
    train, test = ({place.category for place in found[split]} for split in SPLITS)
    if train != test:
        only = "; ".join(
            f"only in {name}: {', '.join(sorted(names))}"
            for name, names in (("train", train - test), ("test", test - train))
            if names
        )
        raise DataError(f"the classes of the training and the test images in {folder} differ: {only}")
    if len(train) < 2:
        raise DataError(f"all images in {folder} are of one class, {', '.join(train)}: make a folder per class")
    return {name: label for label, name in enumerate(sorted(train))}


def _digest(places, labels):
    digest = hashlib.sha256()
    for place, label in zip(places, labels, strict=True):
        digest.update(b"%d %d %s\0" % (label, place.size, os.fsencode(place.name)))
    return digest.hexdigest()


def _stamp(places):
    """Hash of when the files were last changed."""
    times = {place.path: os.stat(place.path).st_mtime_ns for place in places}  # noqa: PTH116 (a million of them)
    return hashlib.sha256(repr(sorted(times.items())).encode()).hexdigest()


@hookimpl
def register_datasets(register):
    register("images", Images)
