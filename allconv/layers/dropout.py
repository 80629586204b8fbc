"""Dropout that draws the same masks on one device and on several."""

import keras
import tensorflow as tf

from allconv.core import backend  # noqa: F401


@keras.saving.register_keras_serializable(package="allconv")
class Dropout(keras.layers.Dropout):
    """`keras.layers.Dropout`, of the whole batch where replicas have a part of it each.

    Keras 3.15 draws the same mask on every replica of a `tf.distribute` strategy. Here
    each draws the mask that one device would draw for the whole batch, and takes its
    own part of it; parts are in order and equal in size. On one device it is Keras'.

    Args:
        rate: Fraction of the values that become 0.
        **kwargs: As for `keras.layers.Dropout`.
    """

    def call(self, inputs, training=False):
        replica = tf.distribute.get_replica_context()
        replicas = 1 if replica is None else replica.num_replicas_in_sync
        if not training or replicas == 1:
            return super().call(inputs, training=training)
        shape = tf.shape(inputs)
        whole = tf.ones(tf.concat([shape[:1] * replicas, shape[1:]], 0), inputs.dtype)
        factors = super().call(whole, training=True)
        start = replica.replica_id_in_sync_group * shape[0]
        factors = factors[start : start + shape[0]]
        return tf.where(factors > 0, inputs * factors, tf.zeros_like(inputs))
