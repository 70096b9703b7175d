"""The modules that become ONNX graphs, one file per system."""
