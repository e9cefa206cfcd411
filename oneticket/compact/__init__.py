"""Compaction: the network that is left of a pruned one, trained in its place to the same weights."""
