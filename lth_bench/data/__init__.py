"""Examples and batches: read, held in memory or streamed, split, ordered by (seed, step) and augmented."""
