"""GraNet."""
