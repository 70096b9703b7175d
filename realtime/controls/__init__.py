"""What turns the knobs: the desk, timbres, snapshots, typed lines, MIDI, knob maps, OSC."""
