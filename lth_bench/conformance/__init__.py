"""The contract that every pruner is held to, for an author's own tests; `lth-bench plugin check` is the command."""

from lth_bench.conformance.contract import contract
from lth_bench.conformance.small_session import small_session

__all__ = ["contract", "small_session"]
