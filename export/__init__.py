"""The bridge: checkpoints in, bundles out. The only package that knows training and realtime."""
