"""The two normalisations of ZFNet: of the responses and of the filters."""

import keras
import tensorflow as tf
from keras import layers, ops

from allconv.core import backend  # noqa: F401


@keras.saving.register_keras_serializable(package="allconv")
class LocalResponseNormalization(layers.Layer):
    """Divide each activation by the energy of its neighbours across feature maps.

    `y = x / (bias + alpha * sum x^2) ** beta`, the sum over the `2 * depth_radius + 1`
    maps around, at the same position. Defaults: Krizhevsky et al. (2012), section 3.3;
    Zeiler & Fergus name the layer ('contrast normalised across feature maps') but not
    its constants.

    Args:
        depth_radius: Neighbouring maps on each side.
        bias: Constant in the sum, above 0.
        alpha: Weight of the energy.
        beta: Exponent.

    Computed in float32 whatever the layer's dtype.

    Raises:
        ValueError: If `bias` or `depth_radius` is none of these.
    """

    def __init__(
        self,
        depth_radius: int = 2,
        bias: float = 2.0,
        alpha: float = 1e-4,
        beta: float = 0.75,
        **kwargs,
    ):
        super().__init__(**kwargs)
        if bias <= 0 or depth_radius < 0:
            raise ValueError(
                "`bias` should be above 0 and `depth_radius` 0 or more. "
                f"Received: bias={bias}, depth_radius={depth_radius}"
            )
        self.depth_radius = depth_radius
        self.bias = bias
        self.alpha = alpha
        self.beta = beta

    def call(self, inputs):
        # In half precision the squares of large responses would be infinite.
        normalised = tf.nn.local_response_normalization(
            *(tf.cast(inputs, tf.float32), self.depth_radius),
            *(self.bias, self.alpha, self.beta),
        )
        return tf.cast(normalised, inputs.dtype)

    def compute_output_shape(self, input_shape):
        return input_shape

    def get_config(self):
        return {
            **super().get_config(),
            "depth_radius": self.depth_radius,
            "bias": self.bias,
            "alpha": self.alpha,
            "beta": self.beta,
        }


@keras.saving.register_keras_serializable(package="allconv")
class MaxRMS(keras.constraints.Constraint):
    """Scale down each filter whose root mean square exceeds `max_rms` (section 3).

    Args:
        max_rms: Largest RMS of one filter's weights; the paper's is 0.1, for inputs
            in about [-128, 128].
    """

    def __init__(self, max_rms: float = 0.1):
        if max_rms <= 0:
            raise ValueError(
                f"`max_rms` should be above 0. Received: max_rms={max_rms}"
            )
        self.max_rms = max_rms

    def __call__(self, w):
        """Constrain kernels `(..., filters)`."""
        rms = ops.sqrt(ops.mean(w**2, axis=tuple(range(len(w.shape) - 1))))
        return w * (self.max_rms / ops.maximum(rms, self.max_rms))

    def get_config(self):
        return {"max_rms": self.max_rms}
