"""Floor 7: the figures."""
