#!/usr/bin/env bash
# Guess: the variance that `fused_batch_norm` returns is the one that it divided by.
# Seen (TensorFlow 2.21.0): it divides by the root of the variance with n below the line and
# returns that with n - 1. Keras 3.15.1 keeps the one with n in `moving_variance`.
# Why it matters: for 2 values the two differ by a factor of 2; whoever swaps the kernel for
# Keras' layer changes the moving variance. `allconv/layers/batch_norm.py` scales it back.
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

import keras  # noqa: E402

print("Keras", keras.__version__)
x = np.array([0, 2], np.float32).reshape(2, 1, 1, 1)
y, _, variance = tf.compat.v1.nn.fused_batch_norm(
    x, [1.0], [0.0], epsilon=1e-3, is_training=True
)
layer = keras.layers.BatchNormalization(momentum=0.0)
layer(x, training=True)
print("of 0 and 2 the kernel makes", y.numpy().ravel(), "and returns variance", *variance.numpy())
print("Keras keeps variance", *layer.moving_variance.numpy())
np.testing.assert_allclose(y.numpy().ravel(), [-1, 1], atol=1e-3)
np.testing.assert_allclose(variance, [2], rtol=1e-6)
np.testing.assert_allclose(layer.moving_variance, [1], rtol=1e-6)
PYTHON
