"""Fewer bits for the weights of streaming graphs, and what they cost."""
