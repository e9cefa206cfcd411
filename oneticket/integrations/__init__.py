"""Beside the tower: adapters for training frameworks, and masks of other tools."""
