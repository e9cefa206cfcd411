"""Rows of a table: which columns are inputs, which is the target, and what they become as numbers."""
