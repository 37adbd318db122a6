"""The Session that a pruner drives, and the reuse of training that was computed before."""
