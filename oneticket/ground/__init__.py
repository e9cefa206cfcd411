"""Floor 0: canonical bytes, named streams, time in words, errors, specs. Nothing here imports torch."""
