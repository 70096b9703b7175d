"""MIDI in: ports, bytes, events, files."""
