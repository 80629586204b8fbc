"""A run of training that a test can afford, and a way to stop it."""

import os
import signal
from dataclasses import replace

import keras

from allconv.presets import catalogue
from allconv.training.run import train

# Real training in a second an epoch: 12 steps of Strided-CNN-A, dropout and all.
SMALL = replace(
    catalogue.get("tiny"),
    name="small",
    architecture="strided_cnn_a",
    augmentation="paper",
    train_size=96,
    batch_size=8,
    hold_out=64,
    epochs=3,
    validate_every=2,
)


def run(folder, preset=SMALL, seed=3, **kwargs):
    return train(preset, seed, folder, progress=False, **kwargs)


class StopAfter(keras.callbacks.Callback):
    """Sends this process a signal in the middle of an epoch."""

    def __init__(self, epoch, signum=signal.SIGTERM):
        super().__init__()
        self.at, self.signum = epoch, signum

    def on_epoch_begin(self, epoch, logs=None):
        self.now = epoch

    def on_train_batch_end(self, batch, logs=None):
        if (self.now, batch) == (self.at, 5):
            os.kill(os.getpid(), self.signum)
