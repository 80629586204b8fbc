"""An initialiser of depthwise kernels, whose fan-in Keras counts otherwise."""

import keras
from keras import ops


@keras.saving.register_keras_serializable(package="allconv")
class PerChannel(keras.initializers.Initializer):
    """Initialises a depthwise kernel as the grouped convolution that it is.

    Keras counts the inputs of all channels as its fan-in; each filter has but one.

    Args:
        initializer: Of a kernel `(height, width, 1, filters)`.
    """

    def __init__(self, initializer: keras.initializers.Initializer | str | dict):
        self.initializer = keras.initializers.get(initializer)

    def __call__(self, shape, dtype=None):
        height, width, channels, multiplier = shape
        kernel = self.initializer((height, width, 1, channels * multiplier), dtype)
        return ops.reshape(kernel, shape)

    def get_config(self) -> dict:
        return {"initializer": keras.initializers.serialize(self.initializer)}
