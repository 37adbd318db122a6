"""The contract of every pruner, for an author's own tests; `lth-bench plugin check` runs it from the command line."""

from lth_bench.conformance.contract import contract
from lth_bench.conformance.small_session import small_session

__all__ = ["contract", "small_session"]
