"""Measurements and the demo: one file per question."""
