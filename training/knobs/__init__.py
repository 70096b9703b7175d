"""Knobs and presets of a trained model, measured on its data set."""
