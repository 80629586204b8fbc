"""Records, published numbers and tables; needs no TensorFlow."""
