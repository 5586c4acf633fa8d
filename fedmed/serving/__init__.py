"""Trained models where they are used: ONNX, precisions, engines, the gate between them."""
