"""What Keras' layers compute, as operators by ONNX's names."""
