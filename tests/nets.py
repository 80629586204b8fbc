"""Small networks, the same one written in every way, and images for them."""

import keras
import numpy as np
import tensorflow as tf
from keras import layers, ops


def images(n=2, size=8, channels=3, seed=0):
    rng = np.random.default_rng(seed)
    return rng.normal(size=(n, size, size, channels)).astype("float32")


def chain(*rows, size=8, channels=3):
    return keras.Sequential([keras.Input((size, size, channels)), *rows])


class Subclassed(keras.Model):
    """Rectifiers in `call` only, some of them in a `tf.function` of its own."""

    def __init__(self):
        super().__init__()
        self.conv1 = layers.Conv2D(4, 3, padding="same")
        self.rest = [layers.Conv2D(4, 3), layers.BatchNormalization()]
        self.dense = layers.Dense(3)

    @tf.function
    def rectify(self, x):
        return tf.nn.relu(x)

    def call(self, x, training=False):
        x = layers.MaxPooling2D(2)(keras.ops.relu(self.conv1(x)))
        x = self.rectify(self.rest[1](self.rest[0](x), training=training))
        return tf.nn.softmax(self.dense(layers.Flatten()(x)))


def sequential():
    return chain(
        layers.Conv2D(4, 3, padding="same", activation="relu", name="conv1"),
        layers.MaxPooling2D(2),
        layers.Conv2D(4, 3, name="conv2"),
        layers.BatchNormalization(),
        layers.ReLU(name="relu2"),
        layers.Flatten(),
        layers.Dense(3, activation="softmax", name="dense"),
    )


def functional():
    inputs = keras.Input((8, 8, 3))
    x = layers.Conv2D(4, 3, padding="same", activation=tf.nn.relu, name="conv1")(inputs)
    x = layers.MaxPooling2D(2)(x)
    x = layers.BatchNormalization()(layers.Conv2D(4, 3, name="conv2")(x))
    x = layers.Flatten()(ops.relu(x))
    x = layers.Softmax()(layers.Dense(3, name="dense")(x))
    return keras.Model(inputs, x)


def nested():
    bottom = keras.Sequential(
        [
            keras.Input((8, 8, 3)),
            layers.Conv2D(4, 3, padding="same", activation="relu", name="conv1"),
            layers.MaxPooling2D(2),
        ],
        name="bottom",
    )
    inner = keras.Input((4, 4, 4))
    x = layers.BatchNormalization()(layers.Conv2D(4, 3, name="conv2")(inner))
    middle = keras.Model(inner, keras.activations.relu(x), name="middle")
    top = keras.Sequential(
        [bottom, keras.Sequential([middle], name="around"), layers.Flatten()],
        name="top",
    )
    return chain(top, layers.Dense(3), layers.Activation("softmax"))


def compiled():
    model = sequential()
    model.compile("adam", "sparse_categorical_crossentropy", jit_compile=False)
    model.predict(images(), verbose=0)
    return model


MODELS = {
    "sequential": sequential,
    "functional": functional,
    "nested": nested,
    "subclassed": Subclassed,
    "compiled": compiled,
}


def with_weights_of(build, reference):
    model = build()
    model(images())
    model.set_weights(reference.get_weights())
    return model


def noticeable():
    """`sequential`, with weights that a rectifier and a normalisation notice."""
    model, rng = sequential(), np.random.default_rng(5)
    model.set_weights([rng.normal(0, 0.5, w.shape) for w in model.get_weights()])
    model.layers[3].moving_variance.assign([0.5, 1, 2, 3])
    return model
