"""Where the images of a split lie, in folders or tar files, a folder per class; no plugin itself."""

from __future__ import annotations

import os
import posixpath
import tarfile
from collections import Counter
from pathlib import Path, PurePosixPath
from typing import NamedTuple

from lth_bench import DataError

OTHER_IMAGES = {".avif", ".bmp", ".gif", ".heic", ".heif", ".jp2", ".jxl", ".ppm", ".svg", ".tif", ".tiff", ".webp"}
"""Suffixes of images that are not read; other files beside the images, such as notes, do not count."""


class Place(NamedTuple):
    """Where an image lies: its name in the split, its class, a file, and which bytes of the file."""

    name: str
    category: str
    path: str
    offset: int
    size: int


def image_places(location):
    """All images of a split, whose folder or tar file is given. Raises DataError."""
    if location.suffix == ".tar":
        return _classified(_in_tar(location, ""))
    tars = sorted(location.glob("*.tar"))
    if tars and not any(child.is_dir() for child in location.iterdir()):
        return _classified([place for tar in tars for place in _in_tar(tar, tar.stem)])
    return _classified(_in_folder(location))


def _classified(places):
    """Images with their classes: the folders they lie in, below the folder that holds all of them."""
    folders = {place.category for place in places}
    start = posixpath.commonpath(folders) if len(folders) > 1 else posixpath.dirname(*folders or [""])
    return [place._replace(category=posixpath.relpath(place.category, start or ".")) for place in places]


def _refuse_others(names, location):
    """Raises DataError if there are images among these names that are not read."""
    others = sorted(name for name in names if PurePosixPath(name).suffix.lower() in OTHER_IMAGES)
    if others:
        kinds = Counter(PurePosixPath(name).suffix.lower() for name in others)
        counts = ", ".join(f"{count} {suffix}" for suffix, count in sorted(kinds.items()))
        raise DataError(
            f"{location} holds images that are not read ({counts}; {others[0]} for one): only JPEG and PNG are; "
            "convert them, or move them elsewhere"
        )


def _in_folder(folder):
    from timm.data.readers import create_reader

    try:
        paths = create_reader("", root=str(folder)).filenames(absolute=True)
    except (RuntimeError, OSError, ValueError) as error:
        _refuse_others(_files(folder), folder)
        raise DataError(f"{folder} holds no images that can be read: {error}") from error
    _refuse_others(_files(folder), folder)
    return [_in_class(path.removeprefix(f"{folder}/"), path, 0, _bytes(path)) for path in paths]


def _files(folder):
    """The names of all files below a folder."""
    for place, _, names in os.walk(folder, followlinks=True):
        yield from (posixpath.join(os.path.relpath(place, folder), name) for name in names)


def _bytes(path):
    """The size of a file."""
    try:
        return Path(path).stat().st_size
    except OSError as error:
        raise DataError(f"{path} cannot be read: {error.strerror}") from error


def _in_class(name, path, offset, size):
    category = posixpath.normpath(posixpath.dirname(name))
    if category == ".":
        raise DataError(f"{path}: {name} lies in no folder; an image's class is the folder it lies in")
    return Place(name, category, path, offset, size)


def _in_tar(path, prefix):
    try:
        with tarfile.open(path, "r:") as tar:
            return list(_members(tar, path, prefix, 0))
    except (tarfile.TarError, OSError, EOFError, ValueError) as error:
        raise DataError(f"{path} is damaged, or no tar file that can be read: {error}") from error


def _members(tar, path, prefix, start):
    """The images in a tar file and in the tar files within it; `start` is its first byte in the file at `path`."""
    from timm.data.readers.img_extensions import get_img_extensions

    others = []
    while (member := tar.next()) is not None:
        tar.members = []  # it would keep every member
        name, offset = PurePosixPath(prefix, member.name), start + member.offset_data
        if name.suffix.lower() == ".tar" and member.isfile():
            with tarfile.open(fileobj=tar.extractfile(member), mode="r:") as inner:
                yield from _members(inner, path, str(name.with_suffix("")), offset)
        elif name.suffix.lower() in get_img_extensions():
            if not member.isfile() or member.issparse():
                raise DataError(f"{path}:{name} is a link or has holes; pack the images as plain files")
            yield _in_class(str(name), str(path), offset, member.size)
        else:
            others.append(str(name))
    _refuse_others(others, path)
    _check_end(tar, path, start)


def _check_end(tar, path, start):
    """Raises DataError unless a block of zeros ends the tar file: tarfile takes a broken header for the end."""
    tar.fileobj.seek(tar.offset)
    if tar.fileobj.read(tarfile.BLOCKSIZE) != bytes(tarfile.BLOCKSIZE):
        raise DataError(f"{path} is damaged or truncated at byte {start + tar.offset}")
