"""All Convolutional Net, ZFNet and Network Deconvolution in Keras 3.

    import allconv

    classifier = allconv.Classifier.released("all_cnn_c", "cifar10")
    maps = allconv.explain(classifier.model, classifier.inputs(images), "guided")

Nothing is imported before it is used: `import allconv` takes a fraction of a second.
"""

import sys

if sys.argv[:1] == ["-m"]:  # `python -m ...`: Ctrl-C while it imports is a line too

    def _stopped(kind, error, trace, before=sys.excepthook) -> None:
        if issubclass(kind, KeyboardInterrupt):
            print("\nStopped.", file=sys.stderr)
        else:
            before(kind, error, trace)

    sys.excepthook = _stopped

import importlib
import os

import lazy_loader
import wrapt

from allconv.core import moved

__version__ = "0.2.0"

# TensorFlow uses oneDNN's kernels of itself only on processors with AVX-512. Its own
# refuse grouped convolutions that it has fused with a rectifier, and are slower. This
# counts where TensorFlow is not imported yet.
os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "1")

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
__all__ += ["__version__"]
sys.meta_path.append(moved.Finder())


@wrapt.when_imported("keras")
def _register(keras) -> None:
    """Let `keras.models.load_model` know every layer and optimiser of this project."""
    if keras.config.backend() == "tensorflow":
        training = ("training.loss_scale", "training.muon", "training.schedules")
        for name in ("layers.registered", *training):
            importlib.import_module(f"allconv.{name}")
