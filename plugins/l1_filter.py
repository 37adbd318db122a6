"""Filters by L1 norm."""
