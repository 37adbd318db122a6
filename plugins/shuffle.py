"""shuffle control."""
