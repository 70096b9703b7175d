"""Sound devices: which there are, and how a stream between two of them can be opened."""
