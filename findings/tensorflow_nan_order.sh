#!/usr/bin/env bash
# Guess: with a NaN, `tf.math.top_k` finds the greatest number all the same, or the NaN.
# Seen (TensorFlow 2.21.0, CPU): of [1, 2, 3, NaN] the top is 1, though 3 is there and
# `top_k` with k=4 says 3 first. `tf.argmax` passes over NaN; NumPy's gives the NaN's place.
# Why it matters: "top 1" and argmax disagree about the same scores once one is NaN, and
# neither says so. Scores are to be checked for NaN before they are ranked.
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

scores = [1.0, 2.0, 3.0, float("nan")]
one = tf.math.top_k(scores, k=1).values.numpy()
four = tf.math.top_k(scores, k=4).values.numpy()
print(scores, "top_k, k=1:", one, "k=4:", four)
print("argmax: TensorFlow", tf.argmax(scores).numpy(), "NumPy", np.argmax(scores))
assert one[0] == 1 and four[0] == 3
assert tf.argmax(scores).numpy() == 2 and np.argmax(scores) == 3
PYTHON
