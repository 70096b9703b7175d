"""The whole runtime as one graph, `fused.onnx`."""
