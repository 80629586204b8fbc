"""Several devices as one: each batch is dealt out, and what depends on it agreed.

`tf.distribute.MirroredStrategy` keeps a copy of the network on each device and adds up
their gradients. Losses, decay and measurements are then those of one device. What is
not, in Keras 3.15, is put right here: dropout's masks, statistics, and the steps that a
loss scale leaves out. Of several machines Keras 3 has none on TensorFlow.
"""

import contextlib
from collections.abc import Callable, Iterator

import keras
import tensorflow as tf

from allconv.layers.dropout import Dropout
from allconv.presets.preset import Preset
from allconv.training.callbacks import restore, state


def check(devices: int, preset: Preset) -> None:
    """Refuse a number of devices that this recipe, or this machine, cannot use.

    Where there is no GPU the processor is divided into as many devices, if TensorFlow
    has not begun yet: a rehearsal, no faster than one.

    Args:
        devices: How many.
        preset: The recipe.

    Raises:
        ValueError: If they are not here, or the batch does not split evenly.
    """
    if type(devices) is not int or devices < 1:
        raise ValueError(
            f"`devices` should be an integer from 1. Received: devices={devices!r}"
        )
    if devices == 1:
        return
    if preset.batch_size % devices:
        raise ValueError(
            "`devices` should divide the batch, so that all get as many images. "
            f"Received: devices={devices}, batch_size={preset.batch_size}"
        )
    if preset.jit_compile:
        raise ValueError(
            "`devices` should be 1 where XLA compiles the step: it compiles for one. "
            f"Received: devices={devices}, jit_compile=True"
        )
    _names(devices)


@contextlib.contextmanager
def spread(
    model: keras.Model, devices: int, build: Callable[[], keras.Model]
) -> Iterator[keras.Model]:
    """Give what to train in place of a model, and set the model to what came of it.

    Args:
        model: A compiled model of one device.
        devices: How many; with 1 the model itself is given.
        build: Builds it once more.

    Raises:
        ValueError: If a layer would compute something else on each device.
    """
    if devices == 1:
        yield model
        return
    with _strategy(devices).scope():
        mirrored = build()
        agree(mirrored)
        restore(mirrored, (state(model), {}))
    yield mirrored
    restore(model, (state(mirrored), {}))


def agree(model: keras.Model) -> None:
    """Have a model's layers compute for the whole batch what one device would.

    Raises:
        ValueError: Naming a layer with a state or random numbers that cannot be so.
    """
    for layer in model._flatten_layers():
        if type(layer) is keras.layers.Dropout:
            layer.__class__ = Dropout  # which adds nothing but another `call`
        elif hasattr(layer, "synchronized"):
            layer.synchronized = True
        elif layer._seed_generators or layer._non_trainable_variables:
            raise ValueError(
                "`devices` should be 1 for a network with layers whose state or random "
                f"numbers would be each device's own. Received: layer {layer.name!r} "
                f"of type {type(layer).__name__}"
            )


class Validation(keras.callbacks.Callback):
    """Measures on one device, as `fit` does, what several have trained.

    Keras 3.15 ends in an error where the first batch does not split evenly, and gives
    what is left over from the last to some devices alone.

    Args:
        single: The same model of one device.
        data: Batches to measure on.
        every: Epochs between measurements.
    """

    def __init__(self, single: keras.Model, data: tf.data.Dataset, every: int):
        super().__init__()
        self.single, self.data, self.every = single, data, every

    def on_epoch_end(self, epoch, logs=None):
        if (epoch + 1) % self.every:
            return
        restore(self.single, (state(self.model), {}))
        measured = self.single.evaluate(self.data, verbose=0, return_dict=True)
        logs.update({f"val_{name}": value for name, value in measured.items()})


def _strategy(devices: int) -> tf.distribute.Strategy:
    names = _names(devices)
    # TensorFlow's default on processors takes one number of devices a process.
    simple = None if "GPU" in names[0] else tf.distribute.ReductionToOneDevice()
    return tf.distribute.MirroredStrategy(names, simple)


def _names(devices: int) -> list[str]:
    """TensorFlow's names of so many devices.

    Raises:
        ValueError: If there are fewer.
    """
    kind = "GPU" if tf.config.list_physical_devices("GPU") else "CPU"
    if kind == "CPU":
        (cpu, *_) = tf.config.list_physical_devices("CPU")
        there = tf.config.get_logical_device_configuration(cpu) or ()
        if len(there) < devices:
            parts = [tf.config.LogicalDeviceConfiguration()] * devices
            with contextlib.suppress(RuntimeError):  # TensorFlow has begun
                tf.config.set_logical_device_configuration(cpu, parts)
    found = [device.name for device in tf.config.list_logical_devices(kind)]
    if len(found) < devices:
        raise ValueError(
            f"`devices` should be up to the {len(found)} that TensorFlow has here "
            f"({kind}). Received: devices={devices}"
        )
    return found[:devices]
