"""A JACK server without hardware: the rig that benchmarks and tests play through."""
