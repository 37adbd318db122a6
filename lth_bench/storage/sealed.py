"""JSON objects that carry their own checksum."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import msgspec

from lth_bench.errors import Damaged
from lth_bench.hashing import canonical, sha256
from lth_bench.storage import reading
from lth_bench.storage.files import publish

LARGEST_JSON = 512 << 20  # bytes; the plan of 100,000 experiments takes 78 million
SEAL = re.compile(rb'"checksum":"([0-9a-f]{64})",?')


def sealed(value: dict[str, Any]) -> bytes:
    """An object as JSON; its field `checksum` is the SHA-256 of all the rest."""
    checksum = sha256(canonical(value).encode())
    return (canonical({**value, "checksum": checksum}) + "\n").encode()


def publish_json(path: Path, value: dict[str, Any]) -> None:
    """Publishes a sealed object."""
    publish(path, sealed(value))


def read_json(path: Path) -> dict[str, Any]:
    """Reads a sealed object; raises Damaged for any other content, and FileFault if the file cannot be read."""
    content = reading.content(path, LARGEST_JSON)
    try:
        value = _OBJECT.decode(content)
        checksum = value.pop("checksum")
    except (msgspec.DecodeError, ValueError, KeyError, RecursionError) as error:
        raise Damaged(f"{path} is not a record of lth-bench ({type(error).__name__}: {error})") from error
    if not (_is_sealed(content) or _fits(value, checksum)):
        raise Damaged(
            f"{path} is damaged: its checksum does not fit its content; delete it, and the next run makes it again"
        )
    return value


def read_sealed(path: Path) -> bytes:
    """Reads the bytes of a sealed object without parsing them; raises as `read_json` does."""
    content = reading.content(path, LARGEST_JSON)
    if not _is_sealed(content):
        read_json(path)
    return content


_OBJECT = msgspec.json.Decoder(dict[str, Any])


def _is_sealed(content: bytes) -> bool:
    """Whether bytes are as `sealed` wrote them: a quick check that parses nothing."""
    seal = SEAL.search(content)
    if seal is None or not content.endswith(b"}\n"):
        return False
    rest = (content[: seal.start()], content[seal.end() : -1])
    return sha256(rest) == seal[1].decode()


def _fits(value: dict[str, Any], checksum: object) -> bool:
    try:
        return checksum == sha256(canonical(value).encode())
    except (ValueError, RecursionError):
        return False
