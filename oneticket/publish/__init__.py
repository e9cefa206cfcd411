"""Beside the tower: tickets and cards in folders, on the Hugging Face Hub, and those that ship with the package."""
