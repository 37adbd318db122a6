"""Edge-popup."""
