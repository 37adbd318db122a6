"""The suites behind results, as the copies of their files tell them."""

from __future__ import annotations

import re
import tomllib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lth_bench.errors import FileFault
from lth_bench.results.frame import Results
from lth_bench.storage.reading import content, names
from lth_bench.storage.records import suite_copy

LARGEST = 1 << 20  # bytes of a suite
DOTS = 100


@dataclass(frozen=True)
class SuiteText:
    """A suite of a report: its name, its title and description, and the TOML text of its file; "" without one."""

    name: str
    title: str
    description: str = ""
    text: str = ""


def suite_texts(results: Results) -> list[SuiteText]:
    """The suites of all experiments, by name; the title of a suite without a readable copy is its name."""
    return [_suite_text(results, name) for name in sorted(set(results.frame["suite"]))]


def _suite_text(results: Results, name: str) -> SuiteText:
    text = next((text for place in results.directories if (text := _copy(suite_copy(place, name)))), "")
    fields = fields_of(text)
    title, description = (str(fields.get(field, "")) for field in ("title", "description"))
    return SuiteText(name, title or name, description, text)


def fields_of(text: str) -> dict[str, Any]:
    """The fields of a suite's text; none if it cannot be read."""
    try:
        return {} if _is_dotted(text) else tomllib.loads(text)
    except (tomllib.TOMLDecodeError, RecursionError):
        return {}


def _copy(path: Path) -> str:
    """The text of a suite's copy; "" if there is none, or if the name, which is that in a record, leads elsewhere."""
    if path.parent.name != "suites" or path.name not in names(path.parent):
        return ""
    try:
        return content(path, LARGEST).decode("utf-8", "replace")
    except FileFault:
        return ""


def _is_dotted(text: str) -> bool:
    """Whether a key may have more parts than a suite has: `tomllib` takes time and memory by the square of them."""
    return max(part.count(".") for part in re.split(r"[\n=\[\],]", text)) > DOTS
