"""Floor 3: sets from names, files, folders, the Hub and functions of the user's own, as tensors."""
