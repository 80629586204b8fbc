#!/usr/bin/env bash
# Guess: the greatest of NaN and 1 is NaN, as of `tf.reduce_max`, or -inf of nothing but NaN.
# Seen (TensorFlow 2.21.0, CPU): `max_pool2d` passes over NaN wherever it stands, and makes
# -3.4e38, a finite number, of NaN alone. `tf.reduce_max` and `avg_pool2d` give NaN.
# Why it matters: a network whose maps are NaN can end in finite scores, so a check of the
# output for NaN proves nothing about the layers before it.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python -m venv "$folder/env"
python="$folder/env/bin/python"
"$python" -m pip install -qq --disable-pip-version-check tensorflow==2.21.0 keras==3.15.1 numpy==2.4.6
"$python" - <<'PYTHON'
import os

os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"
import numpy as np  # noqa: E402
import tensorflow as tf  # noqa: E402

print("TensorFlow", tf.__version__)

nan = float("nan")
lowest = np.finfo(np.float32).min
for window, expected in (([nan, 1.0], 1.0), ([1.0, nan], 1.0), ([nan, nan], lowest)):
    x = tf.reshape(tf.constant(window), (1, 1, 2, 1))
    pooled = tf.nn.max_pool2d(x, (1, 2), 1, "VALID").numpy().item()
    mean = tf.nn.avg_pool2d(x, (1, 2), 1, "VALID").numpy().item()
    greatest = tf.reduce_max(x).numpy().item()
    print(f"{window}: max_pool2d {pooled:g}, avg_pool2d {mean:g}, reduce_max {greatest:g}")
    assert pooled == expected and np.isnan([mean, greatest]).all()
PYTHON
