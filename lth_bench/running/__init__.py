"""From a plan to records: the queue, workers and their supervisor, one experiment, its evaluation."""
