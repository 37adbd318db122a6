"""Which images a network gets right, a bit for each."""

from __future__ import annotations

from base64 import b64decode, b64encode
from collections.abc import Sequence

from msgspec import Struct


class Answers(Struct, frozen=True):
    """Which images of the test split a network gets right: a bit for each, in base64, the first in the highest bit."""

    images: int
    right: str

    @classmethod
    def of(cls, right: Sequence[bool]) -> Answers:
        """The answers to images in their order."""
        size = _bytes(len(right))
        bits = "".join("01"[one] for one in right).ljust(8 * size, "0")
        return cls(len(right), b64encode(int(f"0{bits}", 2).to_bytes(size, "big")).decode())

    def each(self) -> list[bool]:
        """Whether each image is right. Raises ValueError if these are not the bits of so many images."""
        content = b64decode(self.right, validate=True)
        bits = [bool(byte >> place & 1) for byte in content for place in range(7, -1, -1)]
        if len(content) != _bytes(self.images) or any(bits[self.images :]):
            raise ValueError(f"{len(content)} bytes are not the answers to {self.images} images")
        return bits[: self.images]


def _bytes(bits: int) -> int:
    return -(-bits // 8)
