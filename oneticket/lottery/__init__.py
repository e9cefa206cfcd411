"""Floor 5: the search for tickets, their transfer, the controls."""
