"""Keras on another backend than TensorFlow is refused in one line."""

import os
import subprocess
import sys

import pytest


@pytest.mark.parametrize(
    "arguments",
    [
        ("-m", "allconv", "explain", "0", "--model", "all_cnn_c"),
        ("-m", "allconv", "train", "tiny"),
        ("-c", "from allconv.core import backend"),
    ],
)
def test_another_backend_is_named(arguments, tmp_path):
    result = subprocess.run(
        [sys.executable, *arguments],
        capture_output=True,
        text=True,
        cwd=os.curdir,
        env=os.environ | {"KERAS_BACKEND": "jax", "ALLCONV_DATA": str(tmp_path)},
    )
    last = result.stderr.strip().splitlines()[-1]
    assert result.returncode == (1 if arguments[0] == "-c" else 2)
    assert "KERAS_BACKEND=tensorflow" in last
    assert "Received: the backend 'jax'" in last
    if arguments[0] == "-m":
        assert result.stderr.count("\n") == 1
