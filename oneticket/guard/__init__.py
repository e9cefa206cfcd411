"""Floor 1: the guard, which holds pruned weights at zero in any training loop, and the audit of it."""
