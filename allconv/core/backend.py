"""Keras on another backend is refused by what needs it on TensorFlow, in one line.

Graphs, gradients and data here are TensorFlow's. This module is imported before Keras,
which may not even find the backend that it is asked for.
"""

import os

import wrapt


def _check(asked: str) -> None:
    if asked != "tensorflow":
        raise ImportError(
            "allconv needs Keras on TensorFlow: set KERAS_BACKEND=tensorflow before "
            f"Keras is imported. Received: the backend {asked!r}"
        )


@wrapt.when_imported("keras")
def _check_keras(keras) -> None:
    """Look at what `~/.keras/keras.json`, or an earlier import, has set."""
    _check(keras.backend.backend())


_check(os.environ.get("KERAS_BACKEND", "tensorflow"))
