#!/usr/bin/env bash
# Guess: SGD(momentum=0) is plain gradient descent.
# Seen (Keras 3.15.1): ValueError "`momentum` must be a float between [0, 1]": the integer
# is refused, 0.0 taken. RMSprop takes momentum=0.
# Why it matters: settings read from JSON or YAML say 0. `allconv/training/run.py` makes
# it a float.
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
taken = {}
for optimizer in (keras.optimizers.SGD, keras.optimizers.RMSprop):
    for momentum in (0, 0.0):
        name = f"{optimizer.__name__}(momentum={momentum})"
        try:
            optimizer(momentum=momentum)
            taken[name] = True
            print(name, "taken")
        except ValueError as error:
            taken[name] = False
            print(name, "refused:", error)
assert [name for name, value in taken.items() if not value] == ["SGD(momentum=0)"]
PYTHON
