"""Weights to one self-contained, verified ONNX file (torch and onnx, extra `train`)."""
