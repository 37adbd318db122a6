"""The bundled suites."""

from __future__ import annotations

from pathlib import Path

from lth_bench import hookimpl


@hookimpl
def register_suites(register):
    for path in sorted(Path(__file__).parent.glob("*.toml")):
        register(path.stem, path)
