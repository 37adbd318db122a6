"""L0 regularisation."""
