"""The arrays of one preset: loaded, split, preprocessed."""

import contextlib
import hashlib
from pathlib import Path

import numpy as np

from allconv.core import files
from allconv.core.waiting import say_if_long
from allconv.data import batches, datasets, whitenings
from allconv.data.preprocessing import KINDS, Preprocessor
from allconv.presets.preset import Preset


class Inputs:
    """The arrays of one preset: loaded, split, preprocessed.

    Attributes:
        x_train, y_train, x_test, y_test: float32 images and int64 labels. The test
            arrays are the held-out training images where the preset asks for it.
        split: `"test"` or `"hold_out"`: what `x_test` is.
        preprocessor: The fitted preprocessing.
        fingerprints: Those of the raw training and test images, which do not depend
            on their order; and `"order"`, which does, of the training images.
        steps: Steps per epoch.
        classes: Number of classes.

    Raises:
        ValueError: If `hold_out` and `train_size` leave nothing to train on.
    """

    def __init__(self, preset: Preset, data_dir: str | Path | None = None):
        (x, y), (x_test, y_test) = datasets.load(preset.dataset, data_dir)
        self.split = "test"
        if preset.hold_out:
            (x, y), (x_test, y_test) = datasets.hold_out(x, y, preset.hold_out)
            self.split = "hold_out"
        if preset.train_size is not None:
            if not 1 <= preset.train_size <= len(x):
                raise ValueError(
                    f"`train_size` should be from 1 to {len(x)}. "
                    f"Received: {preset.train_size!r}"
                )
            x, y = x[: preset.train_size], y[: preset.train_size]
        order = hashlib.sha256(np.ascontiguousarray(x).data)
        order.update(np.ascontiguousarray(y).data)
        self.fingerprints = {
            "train": datasets.fingerprint(x, y),
            self.split: datasets.fingerprint(x_test, y_test),
            "order": order.hexdigest(),
        }
        self.steps = batches.steps_per_epoch(len(x), preset.batch_size)
        self.preprocessor = fitted(
            preset.preprocessing, x, self.fingerprints["train"], data_dir
        )
        self.x_train, self.y_train = self.preprocessor(x), y
        self.x_test, self.y_test = self.preprocessor(x_test), y_test
        self.classes = len(datasets.class_names(preset.dataset))


def fitted(
    kind: str, images: np.ndarray, print_: str, data_dir: str | Path | None
) -> Preprocessor:
    """The preprocessing fitted to training images, from the cache where it lies there.

    Args:
        kind: A key of `preprocessing.KINDS`.
        images: uint8 training images.
        print_: Their fingerprint, which names the cached file.
        data_dir: As in `data.load`.
    """
    if kind != "gcn_zca":
        return KINDS[kind]().fit(images)
    cached = datasets.data_folder(data_dir) / f"{kind}-{print_[:16]}.h5"
    with contextlib.suppress(OSError, files.DamagedFileError):
        arrays, meta = files.read(cached)
        if meta == {"kind": kind, "data": print_}:
            return KINDS[kind].from_arrays(arrays)
    what = f"Whitening: measuring the covariance of {len(images):,} images ..."
    with say_if_long(what):
        preprocessor = KINDS[kind]().fit(images)
    with contextlib.suppress(OSError):  # a read-only folder costs time, nothing else
        cached.parent.mkdir(parents=True, exist_ok=True)
        files.write(cached, preprocessor.arrays(), {"kind": kind, "data": print_})
        whitenings.clean(data_dir, keep=whitenings.KEPT)
    return preprocessor
