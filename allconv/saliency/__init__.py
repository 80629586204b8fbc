"""What drives a neuron, of any Keras model."""
