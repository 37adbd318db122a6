"""The suites behind results, as the copies of their files tell them."""

from __future__ import annotations

import tomllib
from dataclasses import dataclass

from lth_bench.results.frame import Results
from lth_bench.storage.records import suite_copy


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
    paths = [path for place in results.directories if (path := suite_copy(place, name)).exists()]
    if not paths:
        return SuiteText(name, name)
    text = paths[0].read_text(encoding="utf-8", errors="replace")
    try:
        fields = tomllib.loads(text)
    except (tomllib.TOMLDecodeError, RecursionError):
        fields = {}
    title, description = (str(fields.get(field, "")) for field in ("title", "description"))
    return SuiteText(name, title or name, description, text)
