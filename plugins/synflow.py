"""SynFlow."""
