"""The ticket zoo: the masks of tickets, packed and compressed, beside the records of a board or at another place."""

from __future__ import annotations

import lzma
import math
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal
from urllib.error import URLError
from urllib.parse import urljoin, urlsplit
from urllib.request import urlopen

import msgspec
import numpy as np
from msgspec import Struct
from numpy.typing import NDArray

from lth_bench.errors import Damaged, FileFault
from lth_bench.hashing import sha256
from lth_bench.storage.files import publish
from lth_bench.storage.reading import content, digest
from lth_bench.storage.record import builtins
from lth_bench.storage.records import decoded
from lth_bench.storage.sealed import publish_json

Bits = NDArray[np.uint8]
LARGEST = 1 << 32  # bytes of the masks of one ticket, unpacked
SCHEMES = ("https", "http", "file")
TIMEOUT = 60.0  # seconds without an answer


class Parcel(Struct, frozen=True):
    """The masks of a ticket: the SHA-256 of their file before compression, and its bytes after it."""

    sha256: str
    bytes: int


class Zoo(Struct, frozen=True, omit_defaults=True):
    """The masks of a board by the key of their experiment, and the URL of the folder with their files, if any."""

    schema: Literal[1]
    masks: dict[str, Parcel]
    url: str = ""


@dataclass(frozen=True)
class PackedMasks:
    """Masks as one bit a weight and their shapes, by layer; the channels that were kept, as truth values."""

    bits: dict[str, Bits]
    shapes: dict[str, tuple[int, ...]]
    channels: dict[str, Bits]

    @property
    def joined(self) -> Bits:
        """The bits of all layers, in the order of their names."""
        return np.concatenate([self.bits[name] for name in sorted(self.bits)])

    @property
    def counts(self) -> dict[str, tuple[int, int]]:
        """The weights of each layer, and those that it keeps."""
        return {
            name: (math.prod(self.shapes[name]), int(np.unpackbits(bits, count=math.prod(self.shapes[name])).sum()))
            for name, bits in self.bits.items()
        }


def zoo_path(directory: Path) -> Path:
    return directory / "masks.json"


def parcel_path(directory: Path, parcel: Parcel) -> Path:
    return directory / "masks" / f"{parcel.sha256}.xz"


def read_zoo(directory: Path) -> Zoo:
    """What masks a directory has; none without its masks.json. Raises Damaged and FileFault."""
    path = zoo_path(directory)
    return decoded(path, _ZOO, "list of masks") if path.exists() else Zoo(1, {})


def write_zoo(directory: Path, zoo: Zoo) -> None:
    publish_json(zoo_path(directory), builtins(zoo))


def ticket_masks(path: Path, expected: str | None) -> PackedMasks:
    """The masks of a ticket, of which the SHA-256 is expected. Raises FileFault."""
    from safetensors import SafetensorError, safe_open

    if digest(path) != expected:
        raise FileFault(f"{path} is not the ticket of its record: its hash differs; delete it")
    try:
        with safe_open(path, "numpy") as file:
            names = sorted(file.keys())
            bits = {name: file.get_tensor(f"mask/{name}") for name in _below(names, "mask/")}
            shapes = {name: tuple(file.get_slice(f"final/{name}").get_shape()) for name in bits}
            channels = {name: file.get_tensor(f"channel/{name}") for name in _below(names, "channel/")}
    except (OSError, SafetensorError, TypeError, ValueError, KeyError) as error:
        raise FileFault(f"cannot read {path}: {error}; delete it") from error
    return _checked(PackedMasks(bits, shapes, channels), path)


def pack(masks: PackedMasks, directory: Path) -> Parcel:
    """Writes masks into a directory; equal masks share a file. Raises DiskFault."""
    from safetensors.numpy import save

    shapes = {f"shape/{name}": np.array(shape, np.int64) for name, shape in masks.shapes.items()}
    bits = {f"mask/{name}": value for name, value in masks.bits.items()}
    channels = {f"channel/{name}": value for name, value in masks.channels.items()}
    plain = save({**bits, **shapes, **channels})
    packed = lzma.compress(plain, preset=9 | lzma.PRESET_EXTREME)
    parcel = Parcel(sha256(plain), len(packed))
    publish(parcel_path(directory, parcel), packed)
    return parcel


def unpacked(directory: Path, parcel: Parcel) -> PackedMasks:
    """The masks in the file of a directory. Raises Damaged and FileFault."""
    from safetensors import SafetensorError
    from safetensors.numpy import load

    path = parcel_path(directory, parcel)
    plain = _plain(content(path, parcel.bytes), parcel, path)
    try:
        tensors = load(plain)
        bits = {name: tensors[f"mask/{name}"] for name in _below(tensors, "mask/")}
        shapes = {name: tuple(map(int, tensors[f"shape/{name}"])) for name in bits}
    except (SafetensorError, TypeError, ValueError, KeyError) as error:
        raise Damaged(f"{path} holds no masks: {type(error).__name__}: {error}") from error
    channels = {name: tensors[f"channel/{name}"] for name in _below(tensors, "channel/")}
    return _checked(PackedMasks(bits, shapes, channels), path)


def masks_of(directory: Path, key: str) -> PackedMasks | None:
    """The masks of an experiment in a directory; None if it lists none. Raises FileFault, also for absent files."""
    zoo = read_zoo(directory)
    if key not in zoo.masks:
        return None
    if zoo.url and not parcel_path(directory, zoo.masks[key]).exists():
        raise FileFault(f"the masks of {key} are at {zoo.url}; get them by: lth-bench tickets fetch {directory}")
    return unpacked(directory, zoo.masks[key])


def present(directory: Path) -> dict[str, Parcel]:
    """The masks that a directory lists and has, by the key of their experiment. Raises Damaged and FileFault."""
    return {key: one for key, one in read_zoo(directory).masks.items() if parcel_path(directory, one).exists()}


def fetch(directory: Path) -> Iterator[Path]:
    """Gets the files of absent masks from the URL that the directory names; yields each path. Raises FileFault."""
    zoo = read_zoo(directory)
    missing, url = set(zoo.masks.values()) - set(present(directory).values()), zoo.url
    if missing and urlsplit(url).scheme not in SCHEMES:
        raise FileFault(f"{zoo_path(directory)} names no place for the {len(missing)} masks that {directory} lacks")
    for parcel in sorted(missing, key=lambda one: one.sha256):
        path = parcel_path(directory, parcel)
        place = urljoin(url.rstrip("/") + "/", path.name)
        packed = _downloaded(place, parcel)
        _plain(packed, parcel, place)
        publish(path, packed)
        yield path


def _downloaded(place: str, parcel: Parcel) -> bytes:
    try:
        with urlopen(place, timeout=TIMEOUT) as answer:
            packed: bytes = answer.read(parcel.bytes + 1)
    except (URLError, OSError, ValueError) as error:
        raise FileFault(f"cannot get {place}: {getattr(error, 'reason', error)}; try again later") from error
    if len(packed) != parcel.bytes:
        least = "more than " * (len(packed) > parcel.bytes)
        raise Damaged(f"{place} has {least}{min(len(packed), parcel.bytes):,} bytes, not {parcel.bytes:,}")
    return packed


def _plain(packed: bytes, parcel: Parcel, place: object) -> bytes:
    try:
        plain = lzma.LZMADecompressor(lzma.FORMAT_XZ).decompress(packed, LARGEST)
    except (lzma.LZMAError, EOFError) as error:
        raise Damaged(f"{place} holds no masks: {error}") from error
    if sha256(plain) != parcel.sha256:
        raise Damaged(f"{place} is damaged: its content does not have the SHA-256 {parcel.sha256[:12]}…")
    return plain


def _checked(masks: PackedMasks, place: object) -> PackedMasks:
    bits = masks.bits
    if not bits or any(one.dtype != np.uint8 or one.shape != (_bytes(masks.shapes[n]),) for n, one in bits.items()):
        raise Damaged(f"{place} has no masks of packed bits; delete it")
    return masks


def _bytes(shape: tuple[int, ...]) -> int:
    return -(-math.prod(shape) // 8)


def _below(names: Any, prefix: str) -> list[str]:
    return [name.removeprefix(prefix) for name in names if name.startswith(prefix)]


_ZOO = msgspec.json.Decoder(Zoo)
