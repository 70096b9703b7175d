"""The ways out to sound, one file or folder each, and the mixer that plays them side by side."""
