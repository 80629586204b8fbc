#!/usr/bin/env bash
# Guess: a layer called twice on the same shape is traced or compiled at most once.
# Seen (Keras 3.15.1, TensorFlow 2.21.0): a grouped convolution run eagerly makes a new
# tf.function, compiled by XLA, at every call; an ungrouped one runs at once. The numbers
# are right; a call takes ten times as long or more (1 and 12 to 21 ms on 2 cores).
# Why it matters: loops over layers outside `tf.function` stand still on grouped networks.
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

import time  # noqa: E402

import keras  # noqa: E402

print("Keras", keras.__version__)
graphs = []
convolution = tf.nn.convolution


def seen(*args, **kwargs):
    graphs.append(None if tf.executing_eagerly() else tf.compat.v1.get_default_graph())
    return convolution(*args, **kwargs)


tf.nn.convolution = seen
tf.get_logger().setLevel("ERROR")
x = tf.random.normal((1, 16, 16, 8))
for groups, expected in ((1, 0), (2, 5)):
    layer = keras.layers.Conv2D(8, 3, groups=groups)
    layer(x)
    graphs.clear()
    start = time.perf_counter()
    for _ in range(5):
        layer(x)
    taken = (time.perf_counter() - start) / 5
    traced = len({id(graph) for graph in graphs if graph is not None})
    print(f"groups={groups}: 5 calls, traced {traced} times, {1e3 * taken:.0f} ms a call")
    assert traced == expected
PYTHON
