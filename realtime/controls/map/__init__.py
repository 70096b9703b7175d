"""The knob map: from controllers to targets and back, its file, and learning it."""
