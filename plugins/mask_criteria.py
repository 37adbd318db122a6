"""Mask criteria."""
