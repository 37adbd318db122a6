"""The contract that every pruner is held to, for an author's own tests; `lth-bench plugin check` is the command."""

from lth_bench.conformance.practice import small_session
from lth_bench.conformance.pytests import contract

__all__ = ["contract", "small_session"]
