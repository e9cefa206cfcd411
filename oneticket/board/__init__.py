"""The board: a local page over a store, read-only and on the loopback address alone."""
