"""Floor 3: the networks, their heads and what in them may be pruned."""
