"""Static sparse training."""
