"""Floor 7: statistics of replicates, and the words and tables they are told in."""
