"""Floor 1: a ticket or a mask brought into a model: names, output layers, weights."""
