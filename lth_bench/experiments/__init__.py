"""Plugins, suites and recipes, and the experiments that follow from them, each with its key."""
