"""What a network has learned, of any Keras model."""
