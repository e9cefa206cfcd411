"""Floor 8, below the command line: a run as a person sees it, the same from a terminal, a script and a notebook."""
