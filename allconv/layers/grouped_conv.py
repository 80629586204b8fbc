"""Grouped and depthwise convolutions, for training on a CPU."""

import keras
from keras import ops

from allconv.core import backend  # noqa: F401
from allconv.layers import bias


def convolve(inputs, kernel, groups: int, **window):
    """A grouped convolution, channels last, whose groups are computed one by one.

    Args:
        inputs: `(n, height, width, channels)`.
        kernel: `(height, width, channels / groups, filters)`.
        groups: Their number.
        **window: strides, padding and dilation_rate, as for `keras.ops.conv`.
    """
    images = ops.split(inputs, groups, axis=-1)
    kernels = ops.split(kernel, groups, axis=-1)
    maps = [
        ops.conv(x, k, data_format="channels_last", **window)
        for x, k in zip(images, kernels, strict=True)
    ]
    return ops.concatenate(maps, axis=-1)


@keras.saving.register_keras_serializable(package="allconv")
class GroupedConv2D(keras.layers.Conv2D):
    """`keras.layers.Conv2D` whose groups are convolutions of their own.

    Arguments, weights and outputs are Keras'. TensorFlow's gradient of a grouped
    convolution is a slow loop on a CPU: one epoch of `alexnet_32` takes four times as
    long with it. The gradient of the bias is summed in float32; see `bias`.

    Raises:
        ValueError: If the channels come first.
    """

    def __init__(self, *args, **kwargs):
        super().__init__(*args, **kwargs)
        if self.data_format != "channels_last":
            raise ValueError(
                f"The channels should come last. Received: {self.name} with "
                f"data_format={self.data_format!r}"
            )

    def call(self, inputs):
        maps = self.convolution_op(inputs, self.kernel)
        return self.activation(bias.add(maps, self.bias) if self.use_bias else maps)

    def convolution_op(self, inputs, kernel):
        return convolve(
            *(inputs, kernel, self.groups),
            strides=list(self.strides),
            padding=self.padding,
            dilation_rate=self.dilation_rate,
        )


@keras.saving.register_keras_serializable(package="allconv")
class DepthwiseConv2D(keras.layers.DepthwiseConv2D):
    """`keras.layers.DepthwiseConv2D`, the gradient of whose bias is summed in float32.

    Arguments, weights and outputs are Keras'; the channels come last. See `bias`.
    """

    def call(self, inputs):
        maps = ops.depthwise_conv(
            *(inputs, self.kernel, self.strides, self.padding),
            data_format="channels_last",
            dilation_rate=self.dilation_rate,
        )
        return self.activation(bias.add(maps, self.bias) if self.use_bias else maps)
