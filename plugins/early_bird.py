"""Early-Bird tickets."""
