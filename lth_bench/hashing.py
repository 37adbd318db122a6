"""Canonical JSON and SHA-256."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable
from typing import Any

Content = bytes | Iterable[bytes | memoryview]


def canonical(value: Any) -> str:
    """JSON text that is the same for equal values: keys sorted, no spaces."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False)


def sha256(content: Content) -> str:
    """The SHA-256, in hexadecimal, of bytes or of the parts of an iterable joined."""
    digest = hashlib.sha256()
    for part in [content] if isinstance(content, bytes) else content:
        digest.update(part)
    return digest.hexdigest()
