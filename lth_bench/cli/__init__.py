"""The command `lth-bench`."""

from lth_bench.cli.main import main

__all__ = ["main"]
