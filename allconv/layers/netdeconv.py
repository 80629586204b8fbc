"""Network Deconvolution: layers that whiten their input before they weigh it.

Ye et al., "Network Deconvolution", ICLR 2020 (arXiv 1905.11926). Not to be confused
with the deconvnet of Zeiler and Fergus, which draws pictures.

The values of the patches `x` that a convolution reads are strongly correlated. With
their mean `mu` and covariance `C`, these layers compute

    y = kernel' D (x - mu) + bias,    D = (C + epsilon I)^(-1/2),

and replace batch normalisation, which corrects the mean and the diagonal only. The data
are never touched: `D` and `mu` are multiplied into the kernel and the bias, and an
ordinary convolution remains. In training both come from the batch and gradients flow
through them; in inference running averages stand in, so `fold` can turn a trained model
into plain `Conv2D` and `Dense` layers.

The layers compute what the authors' code (`FastDeconv`, `Delinear`, `ChannelDeconv` of
github.com/yechengxi/deconvolution) computes, oddities included; the docstrings name
those. As with batch normalisation, a layer with `trainable = False` runs in inference.
"""

import math

import keras
import tensorflow as tf
from keras import ops

from allconv.layers import bias as biases, grouped_conv, whitening
from allconv.layers.channel_deconvolution import ChannelDeconvolution
from allconv.layers.folding import fold
from allconv.layers.whitening_layer import (
    Whitening,
    check_count,
    check_pair,
    first_row,
    fit,
    is_count,
    last_axis,
)

__all__ = [
    "ChannelDeconvolution",
    "NetworkDeconvolution2D",
    "NetworkDeconvolutionDense",
    "fold",
]

_register = keras.saving.register_keras_serializable(package="allconv")


@_register
class NetworkDeconvolution2D(Whitening):
    """Convolution of whitened patches; the authors' `FastDeconv`.

    The `kernel area * channels` values of a patch are dealt out to groups of
    `kernel area * block`, which share one mean and one `D`: see
    `whitening.interleave` for the order, which is theirs. Statistics come from
    every `sampling_stride`-th output position of each axis, zero padding included. A
    1x1 kernel takes every `sampling_stride ** 2`-th pixel instead, counted through the
    whole batch, and leaves its padding out.

    Args:
        filters: number of output channels.
        kernel_size: integer or pair.
        strides: integer or pair.
        padding: `"valid"`, `"same"`, or an integer: zeros on all four sides, as in the
            authors' framework (with a stride, `"same"` pads bottom and right more).
        dilation_rate: integer or pair.
        groups: convolution groups. If more than one, `block` is `channels / groups`
            and each group has its own mean and `D`.
        block: channels whitened together.
        sampling_stride: see above. With the paper's 3, patches of 3x3 tile the image.
        **kwargs: see `Whitening`.

    Input: `(n, height, width, channels)`. Output: `(n, rows, columns, filters)`.

    Raises:
        ValueError: for sizes that are not positive, or do not fit together.
    """

    patches = staticmethod(whitening.patches)

    def __init__(
        self,
        filters: int,
        kernel_size: int | tuple[int, int],
        strides: int | tuple[int, int] = 1,
        padding: str | int = "valid",
        dilation_rate: int | tuple[int, int] = 1,
        groups: int = 1,
        block: int = 64,
        sampling_stride: int = 3,
        **kwargs,
    ):
        super().__init__(block=block, **kwargs)
        self.filters = check_count("filters", filters)
        self.kernel_size = check_pair("kernel_size", kernel_size)
        self.strides = check_pair("strides", strides)
        self.padding = padding
        self.dilation_rate = check_pair("dilation_rate", dilation_rate)
        self.groups = check_count("groups", groups)
        self.sampling_stride = check_count("sampling_stride", sampling_stride)
        if padding not in ("valid", "same") and not is_count(padding):
            raise ValueError(
                '`padding` must be "valid", "same" or a non-negative integer. '
                f"Received: {padding!r}"
            )
        if max(self.strides) > 1 and max(self.dilation_rate) > 1:
            raise ValueError(
                "`strides` > 1 cannot be combined with `dilation_rate` > 1. "
                f"Received: strides={strides}, dilation_rate={dilation_rate}"
            )
        if filters % groups:
            raise ValueError(
                "`filters` must be a multiple of `groups`. "
                f"Received: filters={filters}, groups={groups}"
            )

    def get_config(self):
        names = "filters kernel_size strides padding dilation_rate groups".split()
        names.append("sampling_stride")
        return super().get_config() | {name: getattr(self, name) for name in names}

    def build(self, input_shape):
        channels = last_axis(input_shape, 4)
        if channels % self.groups:
            raise ValueError(
                "`groups` must divide the input channels. "
                f"Received: groups={self.groups}, input_shape={input_shape}"
            )
        stack = () if self.groups == 1 else (self.groups,)
        block = fit(self.block, channels) if self.groups == 1 else channels
        self.area = math.prod(self.kernel_size)
        self.shares = channels // block
        features = self.area * block // self.groups
        inputs = channels // self.groups
        self._add_weights((*self.kernel_size, inputs, self.filters), (*stack, features))

    def call(self, x, training=False):
        kernel, bias = self._whitened(
            *self._statistics(lambda: self.sample(x), training)
        )
        kernel = tf.cast(kernel, x.dtype)
        padding = self._plain_padding()
        if padding == "valid":
            x = self._pad(x)
        window = {
            "strides": self.strides,
            "padding": padding,
            "dilation_rate": self.dilation_rate,
        }
        if self._depthwise():
            y = ops.depthwise_conv(x, kernel, data_format="channels_last", **window)
        else:  # TensorFlow's gradient of a grouped convolution is slow on a CPU
            y = grouped_conv.convolve(x, kernel, self.groups, **window)
        if self.groups == 1:  # TensorFlow fuses the gradients of kernel and bias
            return self.activation(tf.nn.bias_add(y, tf.cast(bias, x.dtype)))
        return self.activation(biases.add(y, bias))

    def _depthwise(self) -> bool:
        """Whether the faster depthwise convolution does, which has one stride."""
        single = self.kernel.shape[2] == 1 < self.groups
        return single and self.strides[0] == self.strides[1]

    def sample(self, x: tf.Tensor) -> tf.Tensor:
        """Rows to take statistics from: `(rows, features)`, or that for each group."""
        every = self.sampling_stride
        strides = (self.strides[0] * every, self.strides[1] * every)
        channels = x.shape[-1]
        if self.area == 1:
            rows, step = tf.reshape(x, (-1, channels)), math.prod(strides)
            rows = rows[first_row(rows, step, self.synchronized) :: step]
            rows = rows[:, None, None, None, None]
        else:
            cut = (self.kernel_size, strides, self.dilation_rate)
            rows = self.patches(self._pad(x), *cut)
        if self.groups == 1:
            rows = whitening.interleave(rows, self.shares)
            return tf.reshape(rows, (-1, rows.shape[-1]))
        rows = whitening.interleave(rows, 1)
        rows = tf.reshape(rows, (-1, self.area, self.groups, channels // self.groups))
        rows = tf.transpose(rows, (2, 0, 1, 3))
        return tf.reshape(rows, (self.groups, -1, self.running_mean.shape[-1]))

    def _to_rows(self, kernel: tf.Tensor) -> tf.Tensor:
        if self.groups == 1:
            patches = tf.transpose(kernel, (3, 0, 1, 2))[:, None, :, None]
            rows = whitening.interleave(patches, self.shares)
            return tf.reshape(rows, (-1, rows.shape[-1]))
        rows = tf.reshape(kernel, (self.running_mean.shape[-1], self.groups, -1))
        return tf.transpose(rows, (1, 2, 0))

    def _to_kernel(self, rows: tf.Tensor) -> tf.Tensor:
        if self.groups == 1:
            rows = tf.reshape(rows, (self.filters, self.shares, -1))
            rows = whitening.deinterleave(rows, self.kernel_size)
            return tf.transpose(rows, (1, 2, 3, 0))
        rows = tf.transpose(rows, (2, 0, 1))
        if self._depthwise():
            return tf.reshape(rows, (*self.kernel_size, self.groups, -1))
        return tf.reshape(rows, self.kernel.shape)

    def _pad(self, x: tf.Tensor) -> tf.Tensor:
        """Zeros where the convolution sees them."""
        if self.padding in ("valid", 0):
            return x
        margins = [(self.padding, self.padding)] * 2
        if self.padding == "same":
            sizes = ops.shape(x)[1:3]
            margins = [self._same(axis, size) for axis, size in enumerate(sizes)]
        return tf.pad(x, [(0, 0), *margins, (0, 0)])

    def _same(self, axis: int, size: int | tf.Tensor) -> tuple:
        """Margins of TensorFlow's "same" padding: the larger half comes after."""
        extent, stride = self._extents()[axis], self.strides[axis]
        total = (-(-size // stride) - 1) * stride + extent - size
        total = max(total, 0) if isinstance(total, int) else tf.maximum(total, 0)
        return total // 2, total - total // 2

    def _extents(self) -> list[int]:
        sizes = zip(self.kernel_size, self.dilation_rate, strict=True)
        return [(size - 1) * dilation + 1 for size, dilation in sizes]

    def _plain_padding(self) -> str:
        """Padding of the plain convolution; if `"valid"`, it comes after `_pad`."""
        if isinstance(self.padding, str):
            return self.padding
        centred = all(extent == 2 * self.padding + 1 for extent in self._extents())
        return "same" if centred and max(self.strides) == 1 else "valid"

    def plain(self) -> list[keras.layers.Layer]:
        """The layers that this one is in inference, without weights."""
        arguments = {
            "kernel_size": self.kernel_size,
            "strides": self.strides,
            "padding": self._plain_padding(),
            "dilation_rate": self.dilation_rate,
            "activation": self.activation,
            "name": self.name,
            "dtype": self.dtype_policy,
        }
        if self._depthwise():
            multiple = self.filters // self.groups
            layer = keras.layers.DepthwiseConv2D(depth_multiplier=multiple, **arguments)
        else:
            layer = keras.layers.Conv2D(self.filters, groups=self.groups, **arguments)
        if not self.padding or isinstance(self.padding, str) or layer.padding == "same":
            return [layer]
        name = f"{self.name}_padding"
        return [keras.layers.ZeroPadding2D(self.padding, name=name), layer]

    def compute_output_shape(self, input_shape):
        sizes = list(input_shape[1:3])
        for axis, size in enumerate(sizes):
            if size is not None and self.padding == "same":
                sizes[axis] = -(-size // self.strides[axis])
            elif size is not None:
                margin = 0 if self.padding == "valid" else 2 * self.padding
                free = size + margin - self._extents()[axis]
                if free < 0:
                    raise ValueError(
                        f"{self.name} reads {self._extents()[axis]} pixels along an "
                        f"axis of {size}, padding {self.padding}. Received: input "
                        f"shape {tuple(input_shape)}, kernel_size={self.kernel_size}, "
                        f"dilation_rate={self.dilation_rate}"
                    )
                sizes[axis] = free // self.strides[axis] + 1
        return (input_shape[0], *sizes, self.filters)


@_register
class NetworkDeconvolutionDense(Whitening):
    """Dense layer of whitened features; the authors' `Delinear`.

    The features of the last axis are cut into consecutive runs of `block`, which share
    one mean and one `D`. Every row of the batch enters the statistics.

    Args:
        units: number of output features.
        block: features whitened together.
        **kwargs: see `Whitening`.

    Input: `(n, ..., features)`. Output: `(n, ..., units)`.
    """

    def __init__(self, units: int, block: int = 512, **kwargs):
        super().__init__(block=block, **kwargs)
        self.units = check_count("units", units)

    def get_config(self):
        return super().get_config() | {"units": self.units}

    def build(self, input_shape):
        features = last_axis(input_shape)
        self._add_weights((features, self.units), (fit(self.block, features),))

    def call(self, x, training=False):
        rows = tf.reshape(x, (-1, self.running_mean.shape[0]))
        kernel, bias = self._whitened(*self._statistics(lambda: rows, training))
        y = biases.add(ops.matmul(x, tf.cast(kernel, x.dtype)), bias)
        return self.activation(y)

    def _to_rows(self, kernel: tf.Tensor) -> tf.Tensor:
        return tf.reshape(tf.transpose(kernel), (-1, self.running_mean.shape[0]))

    def _to_kernel(self, rows: tf.Tensor) -> tf.Tensor:
        return tf.transpose(tf.reshape(rows, (self.units, -1)))

    def plain(self) -> list[keras.layers.Layer]:
        """The layer that this one is in inference, without weights."""
        arguments = {"activation": self.activation, "dtype": self.dtype_policy}
        return [keras.layers.Dense(self.units, name=self.name, **arguments)]

    def compute_output_shape(self, input_shape):
        return (*input_shape[:-1], self.units)
