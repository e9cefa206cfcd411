"""Floor 4: the loop, its watchers, measuring and checkpoints."""
