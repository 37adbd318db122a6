"""sign control."""
