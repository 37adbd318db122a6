"""What is asked for: plugins, suites, recipes, and experiments with their keys."""
