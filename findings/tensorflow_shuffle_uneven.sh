#!/usr/bin/env bash
# Guess: `tf.random.experimental.index_shuffle` is as good as a random permutation.
# Seen (TensorFlow 2.21.0): with its fixed 4 rounds the sum of the first 128 indices, then
# the next and so on varies as by chance for n = 10,000, but with 0.4 of the variance for
# n = 50,000 and 0.1 for n = 65,536: neighbours are spread too evenly. The operation below,
# with rounds=8, is right everywhere.
# Why it matters: 50,000 is CIFAR's training set; noise of the gradient is below that of a
# shuffle. `allconv/data/batches.py` has `rounds`.
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


def default(n, seed):
    return tf.random.experimental.index_shuffle(tf.range(n), [seed, 1], n - 1)


def eight(n, seed):
    return tf.raw_ops.RandomIndexShuffle(
        index=tf.range(n), seed=[seed, 1, 2], max_index=n - 1, rounds=8
    )


def variance(order, n, batch=128, seeds=40):
    """That of the sum of a batch's indices, over the exact one of random order."""
    sums = []
    for seed in range(seeds):
        indices = order(n, seed).numpy().astype(np.int64)
        sums.append(indices[: n // batch * batch].reshape(-1, batch).sum(1))
    exact = batch * (n - batch) * (n + 1) / 12
    return np.mean((np.array(sums) - batch * (n - 1) / 2) ** 2) / exact


for n, least, most in ((10_000, 0.85, 1.15), (50_000, 0.3, 0.5), (65_536, 0.03, 0.2)):
    found, right = variance(default, n), variance(eight, n)
    print(f"n = {n}: variance over chance {found:.2f} by default, {right:.2f} with 8 rounds")
    assert least < found < most and 0.9 < right < 1.1
PYTHON
