"""One model file: its graph on onnxruntime, its metadata, its companions."""
