"""What the layers of `netdeconv` have in common: arguments and memory."""

import math
from collections.abc import Callable

import keras
import tensorflow as tf

from allconv.layers import roots, whitening


class Whitening(keras.layers.Layer):
    """A kernel behind a whitening transform: what the layers of `netdeconv` share.

    Args:
        block: features whitened together. When it does not divide the features, the
            greatest common divisor is taken, or all features if there are fewer.
        use_bias: whether to add a bias.
        iterations: Newton-Schulz steps. Few steps whiten partly: the weakest
            directions are raised by `1.5 ** iterations` at most.
        epsilon: added to the diagonal of the covariance.
        momentum: weight of the new batch in the running averages (not of the old
            average, as in `keras.layers.BatchNormalization`). They start at 0 and at
            the identity; `D` itself is averaged, not the covariance.
        freeze_after: None, or the number of training steps after which the running
            statistics are used in training too, as constants. The authors' counter
            wraps, and so does this one: of every `10 * freeze_after` steps the first
            `freeze_after + 1` estimate.
        statistics_every: estimate on every k-th training step only; the steps between
            use the latest estimate, as a constant. 1 in the paper. Cheaper, but another
            function, and less stable: with 2, a small CIFAR-10 net learned at a rate of
            0.02 and diverged at the authors' 0.1.
        synchronized: whether the statistics are of the whole batch where replicas have
            a part of it each, as `keras.layers.BatchNormalization` has it.
        activation, kernel_initializer, bias_initializer, kernel_regularizer,
            bias_regularizer: as in `keras.layers.Conv2D`. The kernel's default is the
            authors': uniform within `1 / sqrt(fan in)`.
    """

    # How the statistics are computed; another way may be put in their place.
    moments = staticmethod(whitening.moments)
    inverse_root = staticmethod(roots.inverse_root)

    def __init__(
        self,
        block: int,
        use_bias: bool = True,
        iterations: int = 5,
        epsilon: float = 1e-5,
        momentum: float = 0.1,
        freeze_after: int | None = None,
        statistics_every: int = 1,
        synchronized: bool = False,
        activation=None,
        kernel_initializer=None,
        bias_initializer="zeros",
        kernel_regularizer=None,
        bias_regularizer=None,
        **kwargs,
    ):
        super().__init__(**kwargs)
        self.block = check_count("block", block)
        self.use_bias = use_bias
        self.iterations = check_count("iterations", iterations)
        self.epsilon = check_epsilon(epsilon)
        self.momentum = check_fraction("momentum", momentum)
        self.freeze_after = freeze_after
        if freeze_after is not None:
            check_count("freeze_after", freeze_after)
        self.statistics_every = check_count("statistics_every", statistics_every)
        self.synchronized = synchronized
        self.activation = keras.activations.get(activation)
        uniform = keras.initializers.VarianceScaling(1 / 3, "fan_in", "uniform")
        self.kernel_initializer = keras.initializers.get(kernel_initializer or uniform)
        self.bias_initializer = keras.initializers.get(bias_initializer)
        self.kernel_regularizer = keras.regularizers.get(kernel_regularizer)
        self.bias_regularizer = keras.regularizers.get(bias_regularizer)

    def get_config(self):
        plain = "block use_bias iterations epsilon momentum freeze_after"
        plain += " statistics_every synchronized"
        config = {k: getattr(self, k) for k in plain.split()}
        config["activation"] = keras.activations.serialize(self.activation)
        for name in ("kernel_initializer", "bias_initializer"):
            config[name] = keras.initializers.serialize(getattr(self, name))
        for name in ("kernel_regularizer", "bias_regularizer"):
            config[name] = keras.regularizers.serialize(getattr(self, name))
        return super().get_config() | config

    def _add_weights(self, kernel, statistics):
        """Creates all weights, given the shapes of the kernel and of the mean."""
        # autocast=False: whitening is float32 work under every policy.
        self.kernel = self.add_weight(
            name="kernel",
            shape=kernel,
            initializer=self.kernel_initializer,
            regularizer=self.kernel_regularizer,
            autocast=False,
        )
        if self.use_bias:
            self.bias = self.add_weight(
                name="bias",
                shape=kernel[-1:],
                initializer=self.bias_initializer,
                regularizer=self.bias_regularizer,
                autocast=False,
            )
        self.running_mean, self.running_deconv = add_statistics(
            self, "running", statistics
        )
        if self.statistics_every > 1:
            self.latest_mean, self.latest_deconv = add_statistics(
                self, "latest", statistics
            )
        if self.statistics_every > 1 or self.freeze_after:
            self.steps = add_counter(self)

    def _statistics(self, rows: Callable[[], tf.Tensor], training: bool):
        """Mean and `D` for this call; updates the running ones.

        `rows` samples the input, `(..., rows, features)`; called when needed.
        """
        running = [self.running_mean, self.running_deconv]
        held = [tf.convert_to_tensor(weight) for weight in running]
        if not (training and self.trainable):
            return held
        if self.statistics_every == 1 and not self.freeze_after:
            chosen = self._estimate(rows())
            average(running, chosen, self.momentum)
            return chosen

        step = tf.convert_to_tensor(self.steps)
        due = step % self.statistics_every == 0
        latest = []
        if self.statistics_every > 1:
            latest = [self.latest_mean, self.latest_deconv]
            held = [tf.convert_to_tensor(weight) for weight in latest]
        if self.freeze_after:
            frozen = step % (10 * self.freeze_after) > self.freeze_after
            due &= ~frozen
            held = [tf.where(frozen, *pair) for pair in zip(running, held, strict=True)]
        if self.synchronized:  # inside tf.cond replicas cannot exchange anything
            new = self._estimate(rows())
            chosen = [tf.where(due, *pair) for pair in zip(new, held, strict=True)]
        else:
            chosen = tf.cond(due, lambda: self._estimate(rows()), lambda: held)
        # Outside tf.cond, too, where replicas exchange what they assign.
        average(running, chosen, tf.where(due, self.momentum, 0.0))
        average(latest, chosen[: len(latest)], 1.0)
        self.steps.assign_add(1)
        return chosen

    def _estimate(self, rows):
        rows = in_full(rows)
        mean, covariance = self.moments(rows)
        if self.synchronized:
            count = tf.cast(tf.shape(rows)[-2], rows.dtype)
            mean, covariance = _of_all_replicas(mean, covariance, count)
        ridge = self.epsilon * tf.eye(covariance.shape[-1], dtype=covariance.dtype)
        return [mean, self.inverse_root(covariance + ridge, self.iterations)]

    def _whitened(self, mean, deconv):
        """Kernel and bias with the whitening multiplied in."""
        rows = tf.matmul(self._to_rows(in_full(self.kernel)), deconv)
        offset = tf.linalg.matvec(rows, mean)
        offset = tf.reduce_sum(tf.reshape(offset, (self.kernel.shape[-1], -1)), -1)
        bias = in_full(self.bias) - offset if self.use_bias else -offset
        return self._to_kernel(rows), bias

    def folded(self) -> list:
        """Kernel and bias of the last of the plain layers."""
        running = (self.running_mean, self.running_deconv)
        whitened = self._whitened(*map(tf.convert_to_tensor, running))
        return [array.numpy() for array in whitened]


def is_count(value) -> bool:
    """Whether a value is a non-negative integer."""
    return isinstance(value, int) and not isinstance(value, bool) and value >= 0


def check_count(name: str, value: int) -> int:
    """A positive integer, or ValueError."""
    if not is_count(value) or value == 0:
        raise ValueError(f"`{name}` must be a positive integer. Received: {value!r}")
    return value


def check_epsilon(value: float) -> float:
    """A number of at least 0, or ValueError."""
    if not value >= 0:
        raise ValueError(f"`epsilon` must not be negative. Received: {value!r}")
    return value


def check_fraction(name: str, value: float) -> float:
    """A number above 0 and up to 1, or ValueError."""
    if not 0 < value <= 1:
        raise ValueError(f"`{name}` must be in (0, 1]. Received: {value!r}")
    return value


def check_pair(name: str, value) -> tuple[int, int]:
    """A pair of positive integers, from a pair or from one integer."""
    pair = tuple(value) if isinstance(value, tuple | list) else (value, value)
    if len(pair) != 2:
        raise ValueError(f"`{name}` must be an integer or a pair. Received: {value!r}")
    first, second = pair
    return check_count(name, first), check_count(name, second)


def fit(block: int, features: int) -> int:
    """Size of the blocks that `features` are cut into, as the authors choose it."""
    return features if block > features else math.gcd(block, features)


def last_axis(shape: tuple, *ranks: int) -> int:
    """Size of the last axis, which statistics need to be known."""
    if shape[-1] is None or (ranks and len(shape) not in ranks):
        raise ValueError(
            f"The input must have rank {' or '.join(map(str, ranks)) or '2 or more'} "
            f"and a known last dimension. Received: input_shape={shape}"
        )
    return shape[-1]


def in_full(x) -> tf.Tensor:
    """The tensor in float32, or in float64 if it is."""
    x = tf.convert_to_tensor(x)
    return x if x.dtype == tf.float64 else tf.cast(x, tf.float32)


def add_state(layer: keras.layers.Layer, name: str, shape: tuple, initializer):
    """A running average: not trained, float32, equal on all replicas."""
    return layer.add_weight(
        name=name,
        shape=shape,
        initializer=initializer,
        dtype="float64" if layer.variable_dtype == "float64" else "float32",
        trainable=False,
        autocast=False,
        aggregation="mean",
    )


def add_statistics(layer: keras.layers.Layer, name: str, shape: tuple):
    """A mean of this shape, from 0, and a `D` to match, from the identity."""

    def identity(shape, dtype):
        return tf.broadcast_to(tf.eye(shape[-1], dtype=dtype), shape)

    mean = add_state(layer, f"{name}_mean", shape, "zeros")
    return mean, add_state(layer, f"{name}_deconv", (*shape, shape[-1]), identity)


def add_counter(layer: keras.layers.Layer):
    """A count of training steps."""
    return layer.add_weight(
        name="steps",
        shape=(),
        initializer="zeros",
        dtype="int32",
        trainable=False,
        autocast=False,
        aggregation="only_first_replica",
    )


def average(running: list, new: list, rate) -> tf.Tensor:
    """Moves running averages towards new values by a fraction `rate`.

    A batch with NaN or infinity moves none, or they would never be numbers again; that
    its outputs are none tells of it. Returns whether they are numbers.
    """
    finite = tf.reduce_all([tf.reduce_all(tf.math.is_finite(v)) for v in new])
    for weight, value in zip(running, new, strict=True):
        old = tf.convert_to_tensor(weight)
        step = tf.cast(rate, old.dtype) * (tf.stop_gradient(value) - old)
        weight.assign(tf.where(finite, old + step, old))
    return finite


def _of_all_replicas(mean, covariance, count):
    """Mean and covariance of the rows of all replicas, from those of each."""
    if others() is None:
        return mean, covariance
    total = summed(count)
    shared = summed(count * mean) / total
    apart = mean - shared
    covariance += apart[..., :, None] * apart[..., None, :]
    return shared, summed(count * covariance) / total


def others() -> tf.distribute.ReplicaContext | None:
    """The replica that this is of several; None: the only one."""
    replica = tf.distribute.get_replica_context()
    return None if replica is None or replica.num_replicas_in_sync == 1 else replica


def summed(value):
    """The sum over all replicas."""
    replica = others()
    if replica is None:
        return value
    return replica.all_reduce(tf.distribute.ReduceOp.SUM, value)


def first_row(rows, step: int, synchronized: bool):
    """The first of a replica's rows where every `step`-th of the whole batch is taken.

    The rows of the replicas follow each other. Each should have `step` at least.
    """
    replica = others() if synchronized else None
    if replica is None:
        return 0
    return -replica.replica_id_in_sync_group * tf.shape(rows)[0] % step
