"""TensorFlow Lite's files, and what their operators compute, by ONNX's names."""
