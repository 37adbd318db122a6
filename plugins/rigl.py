"""RigL."""
