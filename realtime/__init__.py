"""The stage: microphone or file in, timbre-edited sound out. Never imports torch."""
