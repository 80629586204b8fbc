"""Whitening of channels alone, without a kernel. See `allconv.layers.netdeconv`."""

import keras
import tensorflow as tf
from keras import ops

from allconv.layers import roots
from allconv.layers.whitening_layer import (
    add_counter,
    add_state,
    add_statistics,
    average,
    check_count,
    check_epsilon,
    check_fraction,
    in_full,
    last_axis,
    others,
    summed,
)


@keras.saving.register_keras_serializable(package="allconv")
class ChannelDeconvolution(keras.layers.Layer):
    """Whitens channels in front of a plain layer; the authors' `ChannelDeconv`.

    `channels // block` consecutive channels at a time are one feature: they share its
    mean and its row of `D`. The channels left over at the end are normalised by one
    common mean and (unbiased) variance. Kept from the authors' code:

    * the covariance is taken *before* the mean is subtracted, so it is a second moment:
      the direction of the mean is shrunk as well;
    * sampled is every `sampling_stride ** 2`-th pixel, counted through (channel of the
      feature, image, row, column), or all pixels of images smaller than the stride;
    * the running averages start at the first batch.

    Args:
        block: number of features; at most the number of channels.
        iterations: see `Whitening`.
        epsilon: see `Whitening`.
        momentum: see `Whitening`.
        sampling_stride: see above.
        synchronized: see `Whitening`.

    Input and output: `(n, channels)` or `(n, height, width, channels)`.
    """

    def __init__(
        self,
        block: int,
        iterations: int = 5,
        epsilon: float = 1e-2,
        momentum: float = 0.1,
        sampling_stride: int = 3,
        synchronized: bool = False,
        **kwargs,
    ):
        super().__init__(**kwargs)
        self.block = check_count("block", block)
        self.iterations = check_count("iterations", iterations)
        self.epsilon = check_epsilon(epsilon)
        self.momentum = check_fraction("momentum", momentum)
        self.sampling_stride = check_count("sampling_stride", sampling_stride)
        self.synchronized = synchronized

    def get_config(self):
        names = "block iterations epsilon momentum sampling_stride".split()
        names.append("synchronized")
        return super().get_config() | {name: getattr(self, name) for name in names}

    def build(self, input_shape):
        channels = last_axis(input_shape, 2, 4)
        if channels < self.block:
            raise ValueError(
                "`block` must be at most the number of channels. "
                f"Received: block={self.block}, input_shape={input_shape}"
            )
        self.channels, self.rest = channels, channels % self.block
        self.spatial = len(input_shape) == 4
        self.running_mean, self.running_deconv = add_statistics(
            self, "running", (self.block,)
        )
        if self.rest:
            self.rest_mean = add_state(self, "rest_mean", (), "zeros")
            self.rest_variance = add_state(self, "rest_variance", (), "ones")
        self.steps = add_counter(self)

    def call(self, x, training=False):
        running = self._running()
        if training and self.trainable:
            chosen = self._estimate(in_full(x))
            first = tf.equal(self.steps, 0)
            finite = average(running, chosen, tf.where(first, 1.0, self.momentum))
            self.steps.assign_add(tf.cast(finite, "int32"))
        else:
            chosen = [tf.convert_to_tensor(weight) for weight in running]
        kernel, bias = [tf.cast(a, x.dtype) for a in self._affine(*chosen)]
        if self.spatial:
            return tf.nn.bias_add(tf.nn.conv2d(x, kernel[None, None], 1, "VALID"), bias)
        return tf.matmul(x, kernel) + bias

    def _running(self):
        rest = [self.rest_mean, self.rest_variance] if self.rest else []
        return [self.running_mean, self.running_deconv, *rest]

    def _estimate(self, x):
        if x.shape.rank == 2:
            x = x[:, None, None, :]
        n, height, width, channels = ops.shape(x)
        small = tf.minimum(height, width) < self.sampling_stride
        step = tf.where(small, 1, self.sampling_stride**2)
        whole = channels - self.rest
        shape = (n, height, width, self.block, whole // self.block)
        rows = tf.transpose(tf.reshape(x[..., :whole], shape), (4, 0, 1, 2, 3))
        rows = self._sample(tf.reshape(rows, (-1, self.block)), step)
        count = tf.cast(tf.shape(rows)[0], rows.dtype)
        moment = tf.matmul(rows, rows, transpose_a=True) / count
        moment, centre = self._of_all([moment, tf.reduce_mean(rows, 0)], count)
        moment += self.epsilon * tf.eye(self.block, dtype=rows.dtype)
        deconv = roots.inverse_root(moment, self.iterations)
        chosen = [centre, deconv]
        if self.rest:
            rest = tf.transpose(x[..., whole:], (0, 3, 1, 2))
            rest = tf.reshape(rest, (n, height * width * self.rest))[:, ::step]
            count = tf.cast(tf.size(rest), rest.dtype)
            (mean,) = self._of_all([tf.reduce_mean(rest)], count)
            squares = tf.reduce_sum((rest - mean) ** 2)
            if self.synchronized:
                squares, count = summed(squares), summed(count)
            chosen += [mean, squares / tf.maximum(count - 1, 1)]
        return chosen

    def _sample(self, rows, step):
        """Every `step`-th of the rows of the whole batch, channel by channel."""
        replica = others() if self.synchronized else None
        if replica is None:
            return rows[::step]
        position = tf.range(tf.shape(rows)[0])
        size = tf.shape(rows)[0] // ((self.channels - self.rest) // self.block)
        before = position // size * (replica.num_replicas_in_sync - 1)
        position += (before + replica.replica_id_in_sync_group) * size
        return tf.boolean_mask(rows, position % step == 0)

    def _of_all(self, means, count):
        """Means of the rows of all replicas, from those of `count` rows of each."""
        if not self.synchronized or others() is None:
            return means
        return [summed(count * mean) / summed(count) for mean in means]

    def _affine(self, mean, deconv, *rest):
        """The transform as a matrix `(channels, channels)` and a bias."""
        share = (self.channels - self.rest) // self.block
        kernel = deconv[:, None, :, None] * tf.eye(share, dtype=deconv.dtype)[:, None]
        kernel = tf.reshape(kernel, (share * self.block, share * self.block))
        mean = tf.repeat(mean, share)
        if rest:
            scale = tf.repeat(tf.math.rsqrt(rest[1] + self.epsilon), self.rest)
            kernel = tf.pad(kernel, [(0, self.rest)] * 2)
            kernel += tf.linalg.diag(tf.pad(scale, [(share * self.block, 0)]))
            mean = tf.concat([mean, tf.repeat(rest[0], self.rest)], 0)
        return kernel, -tf.linalg.matvec(kernel, mean, transpose_a=True)

    def plain(self) -> list[keras.layers.Layer]:
        """The layer that this one is in inference, without weights."""
        arguments = {"name": self.name, "dtype": self.dtype_policy}
        if self.spatial:
            return [keras.layers.Conv2D(self.channels, 1, **arguments)]
        return [keras.layers.Dense(self.channels, **arguments)]

    def folded(self) -> list:
        """Kernel and bias of that layer."""
        arrays = self._affine(*map(in_full, self._running()))
        kernel, bias = (array.numpy() for array in arrays)
        return [kernel[None, None] if self.spatial else kernel, bias]

    def compute_output_shape(self, input_shape):
        return input_shape
