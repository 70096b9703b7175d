"""A JACK server without hardware, and the clients that benchmarks and tests play through."""
