"""Synth: oscillators with continuous phase and filtered noise, as a harmonic decoder draws them."""
