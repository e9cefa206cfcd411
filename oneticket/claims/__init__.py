"""Floor 7: claims, each a function from rows to a verdict."""
