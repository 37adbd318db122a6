"""Network slimming."""
