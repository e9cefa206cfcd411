"""Floor 6: outcomes by address, in a folder or on an object store; who is at what, and whether it is true."""
