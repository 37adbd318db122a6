"""Modules that compute weights from other tensors, and how methods choose which of these weights to keep.

Plugins import those that need torch inside functions.
"""
