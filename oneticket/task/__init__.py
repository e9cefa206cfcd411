"""Floor 3: what a network is trained for: the loss, the measures, and the one that results are compared by."""
