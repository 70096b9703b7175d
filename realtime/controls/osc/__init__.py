"""OSC in and out over UDP."""
