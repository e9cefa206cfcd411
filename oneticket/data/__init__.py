"""Floor 3: image sets from names, folders and the Hub, as tensors."""
