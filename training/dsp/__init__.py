"""Pitch and synthesis of whole sounds, for training and evaluation."""
