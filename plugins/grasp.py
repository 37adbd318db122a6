"""GraSP."""
