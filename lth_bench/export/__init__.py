"""Networks for use elsewhere: a state dict with its masks, ONNX, and the smaller network of a ticket of channels."""
