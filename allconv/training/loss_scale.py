"""The loss scale of float16, of several devices too."""

import keras
import tensorflow as tf

from allconv.core import backend  # noqa: F401


@keras.saving.register_keras_serializable(package="allconv")
class LossScale(keras.optimizers.LossScaleOptimizer):
    """Keras' loss scale, of which replicas agree whether a step is left out.

    Keras 3.15 asks the first replica alone: an overflow on another is applied.
    """

    def check_finite(self, grads):
        finite = super().check_finite(grads)
        replica = tf.distribute.get_replica_context()
        if replica is None or replica.num_replicas_in_sync == 1:
            return finite
        overflown = tf.cast(tf.logical_not(finite), tf.float32)
        return replica.all_reduce(tf.distribute.ReduceOp.SUM, overflown) == 0
