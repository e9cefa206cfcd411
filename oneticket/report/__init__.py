"""Floor 7: statistics, tables and charts."""
