"""For scripts and notebooks: records, tickets and networks of run directories, Sessions, and runs of suites."""
