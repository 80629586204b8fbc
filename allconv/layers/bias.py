"""A bias whose gradient is summed in float32.

TensorFlow 2.21 sums it in the precision of the maps. In bfloat16 the sum stalls after
some hundred terms of one sign (half of 2,048 positive ones is left), unless it is fused
into the gradient of a plain convolution's kernel.
"""

import tensorflow as tf


def add(maps: tf.Tensor, bias: tf.Tensor) -> tf.Tensor:
    """Maps plus a bias for each channel, as `tf.nn.bias_add`.

    Args:
        maps: `(..., channels)`.
        bias: `(channels,)`, of any float dtype.

    Returns:
        The sum, of the dtype and shape of `maps`.
    """
    if maps.dtype != tf.bfloat16:
        return tf.nn.bias_add(maps, tf.cast(bias, maps.dtype))
    return _add(maps, tf.convert_to_tensor(bias))


@tf.custom_gradient
def _add(maps, bias):
    def gradient(above):
        axes = list(range(maps.shape.rank - 1))
        whole = tf.reduce_sum(tf.cast(above, tf.float32), axes)
        return above, tf.cast(whole, bias.dtype)

    return tf.nn.bias_add(maps, tf.cast(bias, maps.dtype)), gradient
