"""Learned supermasks."""
