"""The studio: data, models and training. Knows nothing of export or realtime."""
