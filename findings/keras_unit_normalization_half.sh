#!/usr/bin/env bash
# Guess: `UnitNormalization` gives vectors of length 1, and 0 for 0, in every dtype.
# Seen (Keras 3.15.1, TensorFlow 2.21.0): in float16 0 becomes NaN, (300, 400) becomes 0
# and (1e-4, 1e-4) inf: the squares overflow or vanish, and its guard 1 / 1e-12 is itself
# inf in float16. In float32 all three are right. LayerNormalization, beside it, gives
# finite values in float16, since it computes in float32.
# Why it matters: mixed_float16 changes the answer by more than rounding, for usual values.
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
x = np.array([[0, 0], [300, 400], [1e-4, 1e-4]])
single = keras.layers.UnitNormalization(dtype="float32")(x).numpy()
half = keras.layers.UnitNormalization(dtype="float16")(x.astype(np.float16)).numpy()
other = keras.layers.LayerNormalization(dtype="float16")(x.astype(np.float16)).numpy()
for row in zip(x.tolist(), single, half, other, strict=True):
    print("{}: float32 {}, float16 {}, LayerNormalization {}".format(*row))
np.testing.assert_allclose(np.linalg.norm(single, axis=1), [0, 1, 1], atol=1e-5)
assert np.isnan(half[0]).all() and (half[1] == 0).all() and np.isinf(half[2]).all()
assert np.isfinite(other).all()
PYTHON
