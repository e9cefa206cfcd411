"""Adapters for training frameworks, and masks of other tools. May import floors 1 to 5."""
