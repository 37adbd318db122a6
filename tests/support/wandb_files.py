"""The records of an offline run of Weights & Biases: its log of protobuf messages, in the format of LevelDB's logs."""

from __future__ import annotations

import json
import struct
from collections.abc import Iterator
from pathlib import Path

from wandb.proto.wandb_internal_pb2 import Record

HEADER = 7  # bytes of the file's, and of every chunk's header
BLOCK = 1 << 15
FULL, LAST = 1, 4


def messages(path: Path) -> Iterator[Record]:
    """The messages of a `.wandb` file, in order."""
    content, place, parts = path.read_bytes(), HEADER, b""
    assert content[:4] == b":W&B"
    while place + HEADER <= len(content):
        if BLOCK - place % BLOCK < HEADER:
            place += BLOCK - place % BLOCK
            continue
        length, kind = struct.unpack_from("<HB", content, place + 4)
        parts += content[place + HEADER : place + HEADER + length]
        place += HEADER + length
        if kind in (FULL, LAST):
            yield Record.FromString(parts)
            parts = b""


def logged(path: Path) -> tuple[dict, list[dict], dict, int | None]:
    """What a run was made with, its history, its summary and its exit code."""
    config, history, summary, code = {}, [], {}, None
    for message in messages(path):
        config |= _values(message.run.config.update)
        if message.WhichOneof("record_type") == "history":
            history.append({**_values(message.history.item), "position": message.history.step.num})
        summary |= _values(message.summary.update)
        if message.WhichOneof("record_type") == "exit":
            code = message.exit.exit_code
    return config, history, summary, code


def _values(items) -> dict:
    return {"/".join(item.nested_key) or item.key: json.loads(item.value_json) for item in items}
