"""Training on 1, 2 and 4 devices, in a process of its own: TensorFlow has 1 before.

Prints what came of it as JSON. `tests/training/test_devices.py` says what it should be.
"""

import functools
import json
import sys
import tempfile
from dataclasses import replace
from pathlib import Path

import keras
import numpy as np
import tensorflow as tf

from allconv.layers import BatchNormalization, NetworkDeconvolution2D
from allconv.networks import own
from allconv.training import devices, inputs, run, setup
from tests.runs import SMALL

found: dict = {}
PRESET = replace(
    SMALL,
    name="replicas",
    architecture="replicas",
    train_size=24,
    hold_out=13,  # which two devices do not share evenly
    epochs=2,
    validate_every=1,
    learning_rate=0.1,
    averaging=0.9,
)


run.Inputs = functools.cache(inputs.Inputs)  # drawn once


def hidden(x, options):
    """A stride, both norms, dropout: all that a device could do on its own."""
    x = keras.layers.Conv2D(4, 3, strides=4, name="conv1")(x)
    x = BatchNormalization(name="norm1", momentum=0.5)(x)
    x = keras.layers.Dropout(0.5, name="dropout1")(keras.layers.ReLU(name="relu1")(x))
    return NetworkDeconvolution2D(4, 1, sampling_stride=2, iterations=2, name="conv2")(
        x
    )


own.register("replicas", hidden)
own.register("plain", lambda x, _: keras.layers.Conv2D(4, 3, 4, name="conv1")(x))
devices.check(4, PRESET)  # which divides the processor


def train(folder, count, preset=PRESET, **options):
    return run.train(preset, 3, folder, progress=False, devices=count, **options)


def copies(model):
    """Whether all devices hold the same bytes."""
    return all(
        np.array_equal(first, other)
        for variable in (*model.variables, *model.optimizer.variables)
        if not variable.path.startswith(("loss", "accuracy"))
        for first, *others in [[part.numpy() for part in variable.value.values]]
        for other in others
    )


class Looking(keras.callbacks.Callback):
    def on_epoch_end(self, epoch, logs=None):
        found.setdefault("same copies", []).append(copies(self.model))


def masks(count):
    """What a dropout of ones leaves, on so many devices."""
    model = keras.Sequential([keras.Input((5,)), keras.layers.Dropout(0.5, seed=1)])
    model.compile("sgd", "mse")
    model.optimizer.build([])

    def build():
        return keras.models.clone_model(model)

    with devices.spread(model, count, build) as net:
        strategy, ones = net.distribute_strategy, tf.ones((8 // count, 5))
        parts = strategy.run(lambda: net(ones, training=True))
        return np.concatenate(strategy.experimental_local_results(parts)).tolist()


def overflow():
    """Loss scale, steps and kernels of two devices, before and after some steps.

    First a batch that overflows on the first device alone, then one that does on the
    second alone, then one that does on none.
    """
    preset = replace(PRESET, architecture="plain", precision="mixed_float16")
    given = inputs.Inputs(preset)
    images, labels = given.x_train[:8], keras.ops.one_hot(given.y_train[:8], 10)
    batches = [images.copy(), images.copy(), images]
    batches[0][:4] = batches[1][4:] = 6e4  # float16 ends at 65504
    data = [tf.data.Dataset.from_tensors((batch, labels)) for batch in batches]
    data = data[0].concatenate(data[1]).concatenate(data[2])

    def build():
        return setup.compiled(preset, given)

    class Noting(keras.callbacks.Callback):
        def on_train_batch_end(self, batch, logs=None):
            optimizer, kernel = self.model.optimizer, self.model.layers[1].kernel
            scale, steps = optimizer.dynamic_scale, optimizer.iterations
            parts = [part.numpy().ravel().tolist() for part in kernel.value.values]
            kept = [float(scale.numpy()), int(steps.numpy()), *parts]
            found.setdefault("overflow", []).append(kept)

    with devices.spread(build(), 2, build) as net:
        noting = Noting()
        noting.set_model(net)
        noting.on_train_batch_end(0)
        net.fit(data, verbose=0, shuffle=False, callbacks=[noting])


def cheap(folder):
    """A small network on two devices, without a stop and with one."""
    found["record 1"] = train(folder / "1", 1)
    found["record 2"] = train(folder / "2", 2, callbacks=[Looking()])
    for name in ("record.json", "weights.h5", "epoch-0002.h5"):
        (folder / "2" / name).unlink()
    found["resumed"] = train(folder / "2", 2)
    found["masks"] = [masks(count) for count in (1, 2, 4)]
    overflow()


def slow(folder):
    """Networks of the papers on two and four devices."""
    # Whitening of fewer rows than features would show rounding, twofold a layer.
    few = {"norm": "deconv", "norm_options": {"block": 8}, "batch_size": 16}
    muon = {"norm": "batch", "muon": 0.3}
    # At a tenfold rate one thread and two differ by 1e-4, on one device.
    zfnet = {"architecture": "zfnet_32", "learning_rate": 1e-3}
    for change in ({}, few, muon, zfnet):
        preset = replace(SMALL, train_size=32, hold_out=13, epochs=2, **change)
        records = [train(folder / f"{change}{n}", n, preset) for n in (1, 2, 4)]
        found[str(change)] = [record["history"] for record in records]


with tempfile.TemporaryDirectory() as made:
    globals()[sys.argv[1]](Path(made))
print(json.dumps(found))
