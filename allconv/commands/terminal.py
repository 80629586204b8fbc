"""Standard streams that are closed or narrow, and TensorFlow's own lines."""

import importlib
import os
import sys

from allconv.core.waiting import say_if_long

STREAMS = (("stdin", 0, "r"), ("stdout", 1, "w"), ("stderr", 2, "w"))


def mend_streams() -> None:
    """Let whatever is printed be printed, or go nowhere, without an error.

    A closed stream (cron, `2>&-`, pythonw) goes nowhere; a file opened later would else
    get its number, and be written to. A sign that the encoding lacks becomes `?`.
    """
    for name, number, mode in STREAMS:
        try:
            os.fstat(number)
        except OSError:
            nowhere = os.open(os.devnull, os.O_RDWR)
            if nowhere != number:
                os.dup2(nowhere, number)
                os.close(nowhere)
        stream = getattr(sys, name)
        if stream is None:
            setattr(sys, name, open(os.devnull, mode))  # noqa: SIM115, PTH123
        elif mode == "w" and getattr(stream, "errors", "") == "strict":
            stream.reconfigure(errors="replace")


def silence() -> None:
    """Send both streams nowhere: their reader has left."""
    for _, number, mode in STREAMS:
        if mode == "w":
            nowhere = os.open(os.devnull, os.O_WRONLY)
            os.dup2(nowhere, number)
            os.close(nowhere)


def import_tensorflow() -> None:
    """Import TensorFlow without the lines that it prints about itself.

    Raises:
        ImportError: If Keras is told to use another backend.
    """
    if "tensorflow" in sys.modules:
        return
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    sys.stderr.flush()
    before, nowhere = os.dup(2), os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, 2)
    try:
        with (
            os.fdopen(os.dup(before), "w", errors="replace") as stream,
            say_if_long("Starting TensorFlow ...", stream=stream),
        ):
            importlib.import_module("allconv.core.backend")  # which refuses others
            importlib.import_module("keras")
    finally:
        os.dup2(before, 2)
        os.close(before)
        os.close(nowhere)
