"""The JSON Schema of a record, made from its type; `python -m lth_bench.storage.schema` writes record.schema.json."""

from __future__ import annotations

import dataclasses
import json
from functools import cache
from pathlib import Path
from types import UnionType
from typing import Any, Union, get_args, get_origin, get_type_hints

import msgspec
from msgspec import UNSET, Struct, UnsetType, structs

from lth_bench.experiments.durations import PATTERN, Duration
from lth_bench.storage.record import OF_RESULTS, SCHEMA, Record

FILE = Path(__file__).with_name("record.schema.json")
CHECKSUM = {"type": "string", "pattern": "^[0-9a-f]{64}$"}
DURATION = {"type": "string", "pattern": f"^{PATTERN.pattern}$"}


def record_schema() -> dict[str, Any]:
    """JSON Schema (2020-12) of a record on disk, checksum included."""
    (_,), parts = msgspec.json.schema_components([_on_disk(Record)], schema_hook=_custom, ref_template="#/$defs/{name}")
    record = parts.pop(Record.__name__)
    record["properties"]["checksum"] = CHECKSUM
    record["required"].append("checksum")
    done = {"properties": {"status": {"const": "done"}}}
    conditions = {"if": done, "then": {"required": list(OF_RESULTS)}, "else": {"required": ["error"]}}
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": f"A record of lth-bench, schema {SCHEMA}",
        **{name: value for name, value in record.items() if name != "title"},
        **conditions,
        "$defs": parts,
    }


def text() -> str:
    return json.dumps(record_schema(), indent=2, ensure_ascii=False) + "\n"


@cache
def _on_disk(kind: Any) -> Any:
    """The type of the JSON on disk: all fields of an experiment required but later ones, no null for absent fields."""
    if dataclasses.is_dataclass(kind):
        hints = get_type_hints(kind)
        return _struct(kind, [_of_dataclass(field, hints[field.name]) for field in dataclasses.fields(kind)])
    if isinstance(kind, type) and issubclass(kind, Struct):
        return _struct(kind, [_written(field) for field in structs.fields(kind)])
    if get_origin(kind) in (Union, UnionType):
        return Union[tuple(map(_on_disk, get_args(kind)))]  # noqa: UP007 (made at run time)
    if get_origin(kind) in (list, dict):
        return get_origin(kind)[tuple(map(_on_disk, get_args(kind)))]
    return kind


def _of_dataclass(field: dataclasses.Field[Any], kind: Any) -> tuple[str, Any] | tuple[str, Any, Any]:
    if "later" in field.metadata:
        return field.name, Union[_on_disk(kind), UnsetType], UNSET  # noqa: UP007
    return field.name, _on_disk(kind)


def _written(field: structs.FieldInfo) -> tuple[str, Any] | tuple[str, Any, Any]:
    if field.required:
        return field.name, _on_disk(field.type)
    if field.default is None:
        kinds = [part for part in get_args(field.type) if part is not type(None)]
        return field.name, Union[tuple(map(_on_disk, [*kinds, UnsetType]))], UNSET  # noqa: UP007
    return field.name, _on_disk(field.type), field.default


def _struct(kind: Any, fields: list[Any]) -> type:
    names = {field.name: field.encode_name for field in structs.fields(kind)} if issubclass(kind, Struct) else None
    return msgspec.defstruct(kind.__name__, fields, kw_only=True, rename=names, namespace={"__doc__": kind.__doc__})


def _custom(kind: type) -> dict[str, Any]:
    if kind is Duration:
        return DURATION
    raise NotImplementedError(kind)


if __name__ == "__main__":
    FILE.write_text(text(), encoding="utf-8")
