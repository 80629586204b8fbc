"""Which arithmetic is the fastest for training here, and which is right.

bfloat16 has eight digits of a binary fraction. TensorFlow 2.21 sums the gradient of a
bias in it, and stalls, unless the sum is fused into that of a plain convolution's
kernel; so it is refused where nothing is fused.
"""

import json
import os
import sys
import time
from pathlib import Path

import keras
import numpy as np
import tensorflow as tf

from allconv.core import files, runtime
from allconv.core.checks import check_choice
from allconv.data import datasets
from allconv.networks import builders

FILE = "precision.json"
BATCH, STEPS = 32, 3  # of the measurement: some seconds on two cores
GAIN = 1.2  # below it the difference is that of two measurements


def check(precision: str) -> None:
    """Refuse a precision that computes wrong numbers here.

    Args:
        precision: Keras dtype policy.

    Raises:
        ValueError: Of `"mixed_bfloat16"`, if TensorFlow runs step by step, or without
            oneDNN's kernels on a processor.
    """
    if precision != "mixed_bfloat16":
        return
    wrong = _wrong()
    if wrong:
        raise ValueError(
            "`precision` should be float32 here: in bfloat16 gradients would be summed "
            f"wrongly, since {wrong}. Received: precision='mixed_bfloat16'"
        )


def _wrong() -> str:
    """Why bfloat16 is not to be trusted here; empty if it is."""
    if tf.config.functions_run_eagerly():
        return "TensorFlow runs functions eagerly"
    off = os.environ.get("TF_ENABLE_ONEDNN_OPTS") == "0"
    if off and not tf.config.list_physical_devices("GPU"):
        return "TF_ENABLE_ONEDNN_OPTS=0 turns oneDNN off"
    return ""


def candidates() -> tuple[str, ...]:
    """The precisions that are right here, float32 first."""
    if tf.config.list_physical_devices("GPU"):
        return ("float32", "mixed_float16")
    return ("float32",) if _wrong() else ("float32", "mixed_bfloat16")


def measure() -> dict[str, float]:
    """Training steps of All-CNN-C in each precision that is right here.

    Returns:
        Images a second by precision.
    """
    images = np.zeros((BATCH, 32, 32, 3), np.float32)
    labels = np.zeros(BATCH, np.int64)
    before, rates = keras.config.dtype_policy(), {}
    print("precision: measuring training steps ...", file=sys.stderr)
    try:
        for precision in candidates():
            keras.config.set_dtype_policy(precision)
            model = builders.build("all_cnn_c")
            model.compile("sgd", "sparse_categorical_crossentropy")
            model.train_on_batch(images, labels)  # which compiles it
            start = time.perf_counter()
            for _ in range(STEPS):
                float(model.train_on_batch(images, labels))
            rates[precision] = BATCH * STEPS / (time.perf_counter() - start)
    finally:
        keras.config.set_dtype_policy(before)
    return rates


def best(rates: dict[str, float]) -> str:
    """The fastest, but float32 where another is hardly faster."""
    fastest = max(rates, key=rates.__getitem__)
    return fastest if rates[fastest] >= GAIN * rates["float32"] else "float32"


def fastest(data_dir: str | Path | None = None) -> str:
    """The precision to train in here, measured once and kept.

    Args:
        data_dir: Where it is kept, beside the data; see `data.data_folder`.

    Returns:
        `"float32"`, `"mixed_bfloat16"` or, on a GPU, `"mixed_float16"`.
    """
    if len(candidates()) == 1:
        return "float32"
    path = datasets.data_folder(data_dir) / FILE
    here = runtime.environment()
    try:
        kept = json.loads(files.read_bytes(path, largest=2**16))
        if kept["environment"] == here:
            check_choice("precision", kept["precision"], candidates())
            return kept["precision"]
    except (OSError, files.DamagedFileError, ValueError, KeyError, TypeError):
        pass  # none, or damaged: measured again
    rates = measure()
    found = {"precision": best(rates), "images/s": rates, "environment": here}
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        files.write_bytes(path, json.dumps(found, indent=1).encode())
    except OSError:
        pass  # a disk that cannot be written: the next run measures again
    return best(rates)
