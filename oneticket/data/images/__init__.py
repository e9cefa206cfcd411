"""Image sets: files, folders and columns of images, decoded, brought to one shape, and augmented."""
