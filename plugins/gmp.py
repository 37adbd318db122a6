"""Gradual magnitude pruning."""
