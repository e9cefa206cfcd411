"""Floor 6: how a plan is run: in this process, or by Ray side by side."""
