"""FORCE."""
