"""Factorised layers."""
