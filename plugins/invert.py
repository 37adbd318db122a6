"""invert control."""
