"""What drives a neuron, of any Keras model."""

import lazy_loader

from allconv.core import backend  # noqa: F401, before Keras

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
