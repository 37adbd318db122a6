"""The Session that a pruner drives, and training that is looked up where it was computed before."""
