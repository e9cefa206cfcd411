"""Floor 7: statistics over replicates, and their words and tables."""
