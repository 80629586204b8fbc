"""Keras on another backend is refused when it is imported, in one line.

Graphs, gradients and data here are TensorFlow's. Import this module before others that
import Keras.
"""

import os

asked = os.environ.get("KERAS_BACKEND", "tensorflow")
if asked == "tensorflow":
    import keras

    asked = keras.backend.backend()  # that of ~/.keras/keras.json, or an earlier import
if asked != "tensorflow":
    raise ImportError(
        "allconv needs Keras on TensorFlow: set KERAS_BACKEND=tensorflow before Keras "
        f"is imported. Received: the backend {asked!r}"
    )
