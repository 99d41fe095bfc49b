"""What the classical detectors share: their rows, and their models as ONNX graphs."""
