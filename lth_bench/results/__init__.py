"""From records to numbers: rows, costs, statistics, leaderboards, verdicts."""
