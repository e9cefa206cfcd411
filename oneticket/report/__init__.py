"""Floor 7: the report: a page, its Markdown, its files."""
