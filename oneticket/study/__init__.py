"""Floor 6: study files, plans, rows and findings."""
