"""Tickets and cards in folders, on the Hugging Face Hub, and in the package. May import floors 1 to 5."""
