"""Renderers of tables, one a format."""
