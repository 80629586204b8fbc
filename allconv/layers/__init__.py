"""What Keras lacks: whitening layers, a fused batch normalisation, grouped kernels."""

from allconv.core import backend  # noqa: F401, before Keras

# isort: split
import keras  # noqa: F401, first: at the end of its import all layers here register
import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
