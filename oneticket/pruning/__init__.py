"""Floor 2: score, allocate, select: which weights live on."""
