"""Floor 6: steps with addresses, plans, the store and the engine."""
