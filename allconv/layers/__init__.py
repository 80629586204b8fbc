"""What Keras lacks."""
