"""Dynamic sparse training with trainable thresholds."""
