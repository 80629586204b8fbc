"""Training recipes; needs no TensorFlow."""
