"""Variational dropout."""
