"""Floor 2: score, allocate, select: which weights remain."""
