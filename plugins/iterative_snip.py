"""Iterative SNIP."""
