"""Proof that what was exported does what the model does, and how near it comes to the original."""
